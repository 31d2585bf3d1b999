//! Connections over TLS.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use redis::TlsCertificates;
use tokio::process::Command;
use tower_idempotency::{RedisStore, StoreError, StoreErrorKind};

use super::verbs::{failed, own_key};
use crate::servers::{Server, within};

/// Names what a process without a crypto provider connects to.
const URL: &str = "REDIS_FAULTS_WITHOUT_PROVIDER";

async fn connect(url: &str, authority: Option<&[u8]>) -> Result<RedisStore, StoreError> {
    // Another test of this process may have been the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = RedisStore::builder().connect_timeout(Duration::from_secs(20));
    if let Some(authority) = authority {
        builder = builder.tls(TlsCertificates {
            client_tls: None,
            root_cert: Some(authority.to_vec()),
        });
    }
    within(builder.connect(url)).await
}

#[tokio::test]
async fn the_authority_is_what_is_trusted() {
    let server = Server::builder().tls().start().await;
    let other = Server::builder().tls().start().await;

    let trusting = connect(&server.url(), Some(server.authority())).await;
    let (_, other) = failed(connect(&server.url(), Some(other.authority())).await);
    let (_, nobody) = failed(connect(&server.url(), None).await);

    own_key(&trusting.unwrap(), 1).await;
    for why in [other, nobody] {
        assert!(why.contains("invalid peer certificate"), "{why}");
    }
}

#[tokio::test]
async fn a_connection_over_tls_is_made_anew() {
    let server = Server::builder().tls().start().await;
    let store = connect(&server.url(), Some(server.authority()))
        .await
        .unwrap();
    own_key(&store, 1).await;

    super::verbs::say(&server, "CLIENT KILL TYPE normal").await;

    own_key(&store, 2).await;
}

#[tokio::test]
async fn tls_and_no_tls_do_not_meet() {
    let encrypted = Server::builder().tls().start().await;
    let plain = Server::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = RedisStore::builder().connect_timeout(Duration::from_secs(1));

    let to_plain = format!("rediss://127.0.0.1:{}", plain.port());
    let (_, to_plain) = failed(within(builder.clone().connect(&to_plain)).await);
    let to_encrypted = format!("redis://127.0.0.1:{}", encrypted.port());
    let (_, to_encrypted) = failed(within(builder.connect(&to_encrypted)).await);

    // That server waits for the end of a line.
    assert!(
        to_plain.contains("over TLS: Redis cannot be reached"),
        "{to_plain}"
    );
    assert!(
        to_encrypted.contains("the connection to Redis has failed"),
        "{to_encrypted}"
    );
}

/// This is the process without a provider, too.
#[tokio::test]
async fn a_program_without_a_crypto_provider_is_told_to_choose_one() {
    if let Ok(url) = env::var(URL) {
        let (kind, why) = failed(RedisStore::connect(&url).await);
        assert_eq!(kind, StoreErrorKind::Fatal, "{why}");
        assert!(
            why.contains("default_provider().install_default()"),
            "{why}"
        );
        return;
    }
    let server = Server::builder().tls().start().await;
    let schemes = ["rediss", "rediss+sentinel", "rediss+cluster"];
    for url in schemes.map(|scheme| format!("{scheme}://{}/0", server.address())) {
        let mut process = Command::new(env::current_exe().unwrap());
        let name = "faults::encrypted::a_program_without_a_crypto_provider_is_told_to_choose_one";
        process.args(["--exact", name]).env(URL, &url);
        process.stdin(Stdio::null()).kill_on_drop(true);

        let output = within(process.output()).await.unwrap();

        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{url} {said}");
        assert!(said.contains("1 passed"), "{url} {said}");
    }
}

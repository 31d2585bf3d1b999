//! One server: what the harness promises of it.

use std::net::TcpListener;
use std::time::Duration;

use redis::{Client, TlsCertificates};
use tokio::time::timeout;

use crate::ask;
use crate::left::runs;
use crate::servers::{Keeper, PATIENCE, Port, Server, eventually, within};

#[tokio::test]
async fn a_server_answers_and_nothing_of_it_is_left() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let id = server.info("server", "process_id").await.unwrap();
    let folder = server.folder().to_owned();
    assert!(runs(&id) && folder.exists());

    ask::<()>(&mut connection, "SET k v").await.unwrap();
    let value = server.cli(&["GET", "k"]);
    drop(server);

    assert_eq!(value, "v");
    assert!(!runs(&id));
    assert!(!folder.exists());
}

#[tokio::test]
#[should_panic(expected = "no-redis is not installed. Install it: apt-get install redis-server")]
async fn a_missing_program_is_named_with_what_installs_it() {
    Server::builder().program("no-redis").start().await;
}

#[tokio::test]
#[should_panic(expected = "'no-such-setting'")]
async fn a_server_that_ends_is_reported_with_what_it_has_said() {
    Server::builder().config("no-such-setting").start().await;
}

#[test]
fn a_port_that_somebody_has_is_given_to_nobody_else() {
    let port = Port::free();
    let number = port.number();

    assert!(Port::take(number).is_none());
    drop(port);
    assert!(Port::take(number).is_some());
}

#[tokio::test]
async fn a_port_that_something_else_listens_on_is_given_up() {
    let port = Port::free();
    let other = TcpListener::bind(("127.0.0.1", port.number())).unwrap();

    let taken = timeout(PATIENCE / 3, Server::builder().start_on(port)).await;

    let taken = taken.expect("the other one never says anything, and is not waited for");
    assert!(taken.is_none(), "{taken:?} instead of {other:?}");
}

#[tokio::test]
async fn another_redis_on_the_port_is_not_taken_for_ours() {
    let port = Port::free();
    let other = Keeper::new("redis-server", &["--port", &port.number().to_string()]);
    other.start().unwrap();
    let ready = async || other.log().contains("Ready to accept").then_some(());
    eventually("the other one listens", ready).await;

    let taken = Server::builder().start_on(port).await;

    assert!(taken.is_none(), "{taken:?}");
}

#[tokio::test]
async fn a_restart_keeps_what_is_appended_and_loses_the_rest() {
    let kept = Server::builder().append_only().start().await;
    let lost = Server::start().await;
    let ports = [kept.port(), lost.port()];

    let mut values = Vec::new();
    for server in [&kept, &lost] {
        ask::<()>(&mut server.connect().await, "SET k v")
            .await
            .unwrap();
        server.restart().await;
        let value = ask::<Option<String>>(&mut server.connect().await, "GET k").await;
        values.push(value.unwrap());
    }

    assert_eq!(values, [Some("v".to_owned()), None]);
    assert_eq!([kept.port(), lost.port()], ports);
}

#[tokio::test]
async fn a_stopped_server_hangs_until_it_goes_on() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    server.stop().await;

    let mut ping = Box::pin(ask::<String>(&mut connection, "PING"));
    let meanwhile = timeout(Duration::from_millis(200), &mut ping).await;
    server.cont();

    assert!(meanwhile.is_err());
    assert_eq!(within(ping).await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_replica_reads_what_its_primary_writes_and_writes_nothing() {
    let primary = Server::builder().password("secret").start().await;
    let replica = Server::start().await;
    let mut connection = primary.connect().await;
    ask::<()>(&mut connection, "SET k v").await.unwrap();

    replica.replica_of(&primary).await;
    let mut connection = replica.connect().await;

    assert_eq!(ask::<String>(&mut connection, "GET k").await.unwrap(), "v");
    let refused = ask::<()>(&mut connection, "SET k w").await;
    assert_eq!(refused.unwrap_err(), "READONLY");

    // Nothing is on its disk: a file that came from the primary is not left there.
    primary.kill();
    replica.restart().await;
    let value = ask::<Option<String>>(&mut replica.connect().await, "GET k").await;
    assert_eq!(value.unwrap(), None);
}

#[tokio::test]
async fn a_user_may_what_its_rules_say() {
    let rules = "on >open ~mine:* -@all +get +client";
    let server = Server::builder().user("app", rules).start().await;
    let client = Client::open(server.url_as("app", "open")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();

    let allowed = ask::<Option<String>>(&mut connection, "GET mine:k").await;
    let refused = ask::<Option<String>>(&mut connection, "GET other").await;

    assert_eq!(allowed, Ok(None));
    assert_eq!(refused.unwrap_err(), "NOPERM");
}

#[tokio::test]
async fn a_server_with_tls_answers_who_trusts_its_authority_and_nobody_else() {
    // Another test of this process may have been the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::builder().tls().start().await;
    let other = Server::builder().tls().start().await;
    assert!(server.url().starts_with("rediss://"), "{}", server.url());
    let connect = async |authority: &[u8]| {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(authority.to_vec()),
        };
        let client = Client::build_with_tls(server.url(), certificates).unwrap();
        client.get_multiplexed_async_connection().await
    };

    let mut trusting = connect(server.authority()).await.unwrap();
    let distrusting = connect(other.authority()).await;

    assert_eq!(ask::<String>(&mut trusting, "PING").await.unwrap(), "PONG");
    assert!(distrusting.is_err());
    let plain = Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    assert!(plain.get_multiplexed_async_connection().await.is_err());
}

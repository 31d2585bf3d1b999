//! What a process says of its store when it starts.

use std::process::Output;
use std::time::Duration;

use tokio::time::Instant;

use super::{Redis, SESSION, create, is_again, two};
use crate::servers::Port;
use crate::support::{Server, program, within};

/// Asserts that a process ends with this status and one line, which names the variable and has these words.
async fn is_refused(url: &str, status: i32, words: &str) {
    let begin = Instant::now();
    let mut program = program("verifa", &[("STORE_URL", url)]);
    let Output {
        status: ended,
        stdout,
        stderr,
    } = within(program.output()).await.unwrap();

    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(ended.code(), Some(status), "{url}: {stderr}");
    assert!(stderr.starts_with("STORE_URL"), "{url}: {stderr}");
    assert!(stderr.contains(words), "{url}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{url}: {stderr}");
    assert!(!stderr.contains("secret"), "{url}: {stderr}");
    assert_eq!(stdout, b"", "{url}");
    let waited = begin.elapsed();
    assert!(waited < Duration::from_secs(15), "{url}: after {waited:?}");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_in_one_line() {
    for (url, words) in [
        ("redis:", "has no scheme"),
        ("redis://", "hostname"),
        ("redisx://:secret@127.0.0.1", "its scheme must be"),
        ("redis://:secret@127.0.0.1/secret", "database"),
        ("redis://:sec/ret-secret@127.0.0.1", "wrong"),
        ("redis://user:6379/secret@127.0.0.1", "wrong"),
        ("redis+sentinel://:secret@127.0.0.1", "name of the primary"),
        ("redis+cluster://:secret@", "empty"),
    ] {
        is_refused(url, 2, words).await;
    }
}

#[tokio::test]
async fn a_redis_that_is_not_in_reach_is_another_status() {
    let port = Port::free();
    let nobody = format!("127.0.0.1:{}", port.number());
    let hangs = Redis::start().await;
    hangs.stop().await;

    for (url, words) in [
        (format!("redis://:secret@{nobody}"), "cannot be reached"),
        (
            format!("redis+cluster://:secret@{nobody},{nobody}"),
            "failed",
        ),
        (
            format!("redis+sentinel://:secret@{nobody}/name"),
            "cannot be reached",
        ),
        (
            format!("redis://:secret@{}", hangs.address()),
            "cannot be reached in time",
        ),
        (
            format!("rediss://:secret@{}", hangs.address()),
            "cannot be reached in time",
        ),
    ] {
        is_refused(&url, 1, words).await;
    }
}

#[tokio::test]
async fn what_is_no_redis_is_quoted_in_one_line() {
    let other = Server::start("verifa", &[]).await;
    let url = format!("redis://:secret@{}", other.address);
    is_refused(&url, 1, "not of Redis").await;
}

#[tokio::test]
async fn a_password_that_is_wrong_is_refused() {
    let redis = Redis::builder().password("right").start().await;
    let (right, port) = (redis.url(), redis.port());

    for (user, words) in [
        (":secret@", "does not know this user"),
        ("someone:secret@", "does not know this user"),
        ("", "wants a password"),
    ] {
        let url = format!("redis://{user}127.0.0.1:{port}");
        is_refused(&url, 2, words).await;
    }
    two("verifa", &right, &[]).await;
}

#[tokio::test]
async fn a_redis_that_breaks_the_promise_is_refused() {
    let evicting = Redis::builder().max_memory(100 << 20, "allkeys-lru");
    let node = Redis::builder().config("cluster-enabled yes");
    let (primary, replica) = tokio::join!(Redis::start(), Redis::start());
    let (evicting, node) = tokio::join!(evicting.start(), node.start());
    replica.replica_of(&primary).await;

    is_refused(&evicting.url(), 2, "maxmemory-policy is allkeys-lru").await;
    is_refused(&node.url(), 2, "connect by redis+cluster://").await;
    // It may be the primary the next time.
    is_refused(&replica.url(), 1, "this Redis is a replica").await;
}

#[tokio::test]
async fn a_warning_is_one_line_and_a_good_redis_has_none() {
    let (forgetful, lasting) = (Redis::builder(), Redis::builder().append_only());
    let (forgetful, lasting) = tokio::join!(forgetful.start(), lasting.start());
    let said = async |redis: &Redis| {
        let server = Server::start("verifa", &[("STORE_URL", &redis.url())]).await;
        create(&server, "key", SESSION).send().await.is_first(201);
        server.terminate();
        server.ended().await.stderr
    };

    let warned = said(&forgetful).await;
    let nothing = said(&lasting).await;

    assert!(
        warned.starts_with("STORE_URL: warning: Redis keeps no append-only file"),
        "{warned}"
    );
    assert_eq!(warned.lines().count(), 1, "{warned}");
    assert_eq!(nothing, "");
}

#[tokio::test]
async fn redis_is_spoken_to_over_tls() {
    let redis = Redis::builder().tls().start().await;
    let authority = redis.folder().join("ca.crt");
    let authority = authority.to_str().unwrap();
    let trusting = [("SSL_CERT_FILE", authority)];
    let (a, b) = two("verifa", &redis.url(), &trusting).await;

    let first = create(&a, "key", SESSION).send().await;
    let second = create(&b, "key", SESSION).send().await;

    is_again(&second, first.is_first(201));
    // Whom nobody has signed is not believed.
    is_refused(&redis.url(), 1, "certificate").await;
}

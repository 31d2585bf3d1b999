//! Connecting to what is not there, is something else, or lets nobody in.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_idempotency::{RedisStore, Store, StoreError, StoreErrorKind};

use super::verbs::{EachVerb, failed, key, own_key, request, say};
use crate::servers::{Port, Server, eventually, within};

/// In every URL here as password; never in anything that is shown.
const SECRET: &str = "s3cr3t-0f-th3-t3st";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// So much later it may end on a busy machine.
const MARGIN: Duration = Duration::from_secs(3);

/// Tries to connect; kind and reason, once it is known that neither takes too long nor shows the password.
async fn refused(url: &str) -> (StoreErrorKind, String) {
    let begin = Instant::now();
    let builder = RedisStore::builder().connect_timeout(CONNECT_TIMEOUT);
    let connected = within(builder.connect(url)).await;
    let took = begin.elapsed();
    assert!(took <= CONNECT_TIMEOUT + MARGIN, "{url} {took:?}");
    let error = connected.expect_err(url);
    shows_no_secret(&error);
    failed::<()>(Err(error))
}

#[track_caller]
fn shows_no_secret(error: &StoreError) {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        shown += &format!(" {error} {error:?}");
        cause = error.source();
    }
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn wrong_urls_are_named_with_what_is_wrong() {
    let no_scheme = "it has no scheme";
    let scheme = "its scheme must be redis, rediss (TLS)";
    let parse = "Redis URL did not parse";
    let (host, hosts) = ("Missing hostname", "one of its hosts is empty");
    let (database, path) = ("Invalid database number", "Missing path");
    let name = "it needs the name of the primary: redis+sentinel://";
    for (url, what) in [
        ("", no_scheme),
        ("localhost", no_scheme),
        ("localhost:6379", no_scheme),
        ("redis:", no_scheme),
        ("redis:/localhost", no_scheme),
        ("redis+unix:", no_scheme),
        ("http://localhost", scheme),
        ("postgres://user:PASSWORD@localhost/db", scheme),
        ("redis+ssl://localhost", scheme),
        ("redis+tls+sentinel://localhost/mymaster", scheme),
        ("REDIS://user:PASSWORD@localhost", scheme),
        ("redis://", host),
        ("redis:///", host),
        ("redis://:6379", parse),
        ("redis://localhost:port", parse),
        ("redis://localhost:99999", parse),
        ("redis://localhost:-1", parse),
        ("redis://[::1", parse),
        ("redis://local host", parse),
        ("redis://user:PASSWORD@", parse),
        ("redis://user@name:PASSWORD@localhost:port", parse),
        ("redis://user:PASSWORD@localhost:port/0", parse),
        ("redis://user:PASSWORD@localhost/x", database),
        (
            "redis://user:PASSWORD@localhost?protocol=resp9",
            "Invalid protocol version",
        ),
        ("redis+unix://", path),
        ("redis+sentinel://localhost", name),
        ("redis+sentinel://localhost/", name),
        ("redis+sentinel://localhost:26379/?x", name),
        ("redis+sentinel:///mymaster", hosts),
        ("redis+sentinel://a,,b/mymaster", hosts),
        ("redis+sentinel://user:PASSWORD@host:port/mymaster", parse),
        ("redis+cluster://", hosts),
        ("redis+cluster://a,,b", hosts),
        ("redis+cluster://user:PASSWORD@a:port", parse),
    ] {
        let (kind, why) = refused(&url.replace("PASSWORD", SECRET)).await;

        assert_eq!(kind, StoreErrorKind::Fatal, "{url} {why}");
        assert!(why.contains("the URL of Redis is wrong"), "{url} {why}");
        assert!(why.contains(what), "{url} {why}");
    }
}

#[tokio::test]
async fn who_is_not_let_in_hears_why() {
    let closed = Server::builder().password(SECRET);
    let closed = closed.user("app", "on >secret ~* +@all").start().await;
    let closed = closed.address();
    let open = Server::start().await;
    let unknown = "Redis does not know this user with this password";
    for (url, what) in [
        (format!("redis://{closed}"), "Redis wants a password"),
        (format!("redis://:wrong@{closed}"), unknown),
        (format!("redis://app:wrong@{closed}"), unknown),
        (format!("redis://nobody:{SECRET}@{closed}"), unknown),
        (format!("redis://app:{SECRET}@{}", open.address()), unknown),
        (
            format!("redis://{}/99", open.address()),
            "DB index is out of range",
        ),
    ] {
        let (kind, why) = refused(&url).await;

        assert_eq!(kind, StoreErrorKind::Fatal, "{url} {why}");
        assert!(why.contains(what), "{url} {why}");
    }
    let store = RedisStore::connect(&format!("redis://:{SECRET}@{closed}"))
        .await
        .unwrap();
    own_key(&store, 1).await;
    assert!(!format!("{store:?} {store:#?}").contains(SECRET));
}

/// Redis quotes a command that it does not know, with what comes behind.
#[tokio::test]
async fn a_server_that_quotes_the_password_is_not_quoted() {
    for command in ["AUTH", "HELLO"] {
        let server = Server::builder().user("app", &format!("on >{SECRET} ~* +@all"));
        let server = server.config(format!("rename-command {command} \"\""));
        let server = server.start().await;
        // The one is asked by `AUTH`, the other by `HELLO`.
        let query = if command == "AUTH" {
            ""
        } else {
            "?protocol=resp3"
        };

        let url = format!("redis://app:{SECRET}@{}/0{query}", server.address());
        let (kind, why) = refused(&url).await;

        assert_eq!(kind, StoreErrorKind::Fatal, "{why}");
    }
}

#[tokio::test]
async fn right_urls_connect() {
    let server = Server::builder().password("simple");
    let server = server.user("us:er", "on >s%cr@t/ ~* +@all");
    let server = server.config("unixsocket redis.sock").start().await;
    let address = server.address();
    let socket = server.folder().join("redis.sock");
    let socket = socket.display();
    for url in [
        format!("redis://:simple@{address}"),
        format!("redis://:simple@{address}/3"),
        format!("redis://default:simple@localhost:{}/", address.port()),
        format!("redis://us%3Aer:s%25cr%40t%2F@{address}/0?protocol=resp3"),
        format!("redis+unix://{socket}?pass=simple"),
        format!("redis+unix://{socket}?user=us%3Aer&pass=s%25cr%40t%2F&db=2"),
    ] {
        let store = within(RedisStore::connect(&url)).await.expect(&url);
        EachVerb::new(&store, 1).await.all_pass().await;
        let mut flush = server.connect().await;
        redis::cmd("FLUSHALL").exec_async(&mut flush).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_room_for_another_client_is_asked_again() {
    let server = Server::start().await;
    say(&server, "CONFIG SET maxclients 3").await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(server.connect().await);
    }

    let (kind, why) = refused(&server.url()).await;

    assert_eq!(kind, StoreErrorKind::NotApplied, "{why}");
    drop(others);
    let connected = async || RedisStore::connect(&server.url()).await.ok();
    own_key(&eventually("there is room", connected).await, 1).await;
}

/// A server that answers whatever comes first with this, and is gone.
async fn greeting(greeting: &'static str) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, mut tasks) = (listener.local_addr().unwrap(), JoinSet::new());
    tasks.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 1000]).await;
            let _ = client.write_all(greeting.as_bytes()).await;
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn settings_may_be_as_large_and_as_small_as_they_can_be() {
    let server = Server::start().await;
    let builder = RedisStore::builder()
        .max_record_bytes(usize::MAX)
        .connect_timeout(Duration::MAX);

    let for_ever = builder.clone().timeout(Duration::MAX);
    let for_ever = within(for_ever.connect(&server.url())).await.unwrap();
    EachVerb::new(&for_ever, 1).await.all_pass().await;

    let no_time = builder.clone().timeout(Duration::from_nanos(1));
    let no_time = within(no_time.connect(&server.url())).await.unwrap();
    for _ in 0..10 {
        let ping = within(no_time.ping()).await;
        let is_fatal = ping.is_err_and(|error| error.kind() == StoreErrorKind::Fatal);
        assert!(!is_fatal);
    }

    // No replica is there, and none comes.
    let patient = builder
        .timeout(Duration::from_secs(1))
        .wait(1, Duration::MAX);
    let patient = within(patient.connect(&server.url())).await.unwrap();
    let (kind, why) = failed(within(patient.claim(&request(key(99)))).await);
    assert_eq!(kind, StoreErrorKind::Ambiguous, "{why}");
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let nobody = Port::free();
    let nobody = format!("127.0.0.1:{}", nobody.number());
    let unreached = "Redis cannot be reached";
    for (url, what) in [
        (format!("redis://:{SECRET}@{nobody}"), unreached),
        (format!("redis://:{SECRET}@192.0.2.1"), unreached),
        (
            format!("redis+unix:///no/such/socket?pass={SECRET}"),
            unreached,
        ),
        (
            format!("redis://:{SECRET}@no-such-host.invalid"),
            "no-such-host.invalid",
        ),
        (format!("redis://:{SECRET}@{silent}"), "nobody answers"),
        (format!("redis://{silent}"), "nobody answers"),
    ] {
        let (kind, why) = refused(&url).await;

        assert_eq!(kind, StoreErrorKind::NotApplied, "{url} {why}");
        assert!(why.contains(what), "{url} {why}");
    }
}

#[tokio::test]
async fn what_is_no_redis_is_not_taken_for_one() {
    for greeting in [
        "",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "220 mail.example ESMTP\r\n",
        "\0\0\0\u{5}hello",
    ] {
        let (address, _greeting) = self::greeting(greeting).await;

        for url in [
            format!("redis://:{SECRET}@{address}"),
            format!("redis://{address}"),
        ] {
            let (kind, why) = refused(&url).await;

            assert_eq!(kind, StoreErrorKind::NotApplied, "{why}");
            assert!(
                why.contains(&address.to_string()) && !why.contains('\n'),
                "{why}"
            );
        }
    }
}

#[tokio::test]
async fn another_kind_of_redis_is_named_with_the_url_that_it_wants() {
    let server = Server::start().await;
    let sentinel = Server::builder().sentinel().start().await;
    let node = Server::builder()
        .config("cluster-enabled yes")
        .start()
        .await;
    for (url, what) in [
        (sentinel.url(), "redis+sentinel://"),
        (node.url(), "redis+cluster://"),
        (
            format!("redis+cluster://{}", server.address()),
            "cluster support disabled",
        ),
        (
            format!("redis+sentinel://{}/name", server.address()),
            "not point to a sentinel",
        ),
        (
            format!("redis+sentinel://{}/name", sentinel.address()),
            "knows a primary of this name",
        ),
    ] {
        let (_, why) = refused(&url).await;

        assert!(why.contains(what), "{url} {why}");
    }
}

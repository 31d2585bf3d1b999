//! The proxy: what becomes of commands on a wire that fails.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::time::timeout;

use crate::ask;
use crate::servers::{Held, PATIENCE, Proxy, Server, eventually, within};

/// Shorter than any patience, and longer than an answer takes.
const MOMENT: Duration = Duration::from_millis(200);

async fn through(proxy: &Proxy) -> RedisResult<MultiplexedConnection> {
    let client = Client::open(format!("redis://{}", proxy.address())).unwrap();
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    within(client.get_multiplexed_async_connection_with_config(&patient)).await
}

async fn proxy() -> (&'static Server, Proxy) {
    let server = Server::shared().await;
    (server, Proxy::start(server.address()).await)
}

async fn counted(server: &Server, key: &str) -> u64 {
    let counted = ask(&mut server.connect().await, &format!("GET {key}")).await;
    counted.map(Option::unwrap_or_default).unwrap()
}

#[tokio::test]
async fn a_reply_is_cut_after_the_server_has_applied_the_command() {
    let (server, proxy) = proxy().await;
    let mut connection = through(&proxy).await.unwrap();
    let mut other = through(&proxy).await.unwrap();
    proxy.cut_replies_to("INCR", 1);

    let ping = ask::<String>(&mut connection, "PING").await;
    let lost = ask::<u64>(&mut connection, "INCR proxy:reply").await;
    let next = ask::<u64>(&mut other, "INCR proxy:reply").await;

    assert_eq!(ping.unwrap(), "PONG");
    assert_eq!(lost.unwrap_err(), "no answer");
    assert_eq!(next.unwrap(), 2);
    assert_eq!(counted(server, "proxy:reply").await, 2);
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn the_next_replies_are_cut_whatever_they_answer() {
    let (_, proxy) = proxy().await;
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(through(&proxy).await.unwrap());
    }
    proxy.cut_replies(2);

    let mut pongs = Vec::new();
    for connection in &mut connections {
        pongs.push(ask::<String>(connection, "PING").await.is_ok());
    }

    assert_eq!(pongs, [false, false, true]);
}

#[tokio::test]
async fn all_connections_are_cut_and_new_ones_are_not() {
    let (_, proxy) = proxy().await;
    let mut open = through(&proxy).await.unwrap();

    proxy.cut().await;

    assert!(ask::<String>(&mut open, "PING").await.is_err());
    let mut new = through(&proxy).await.unwrap();
    assert!(ask::<String>(&mut new, "PING").await.is_ok());
}

#[tokio::test]
async fn held_requests_do_not_reach_the_server_before_they_are_released() {
    let (server, proxy) = proxy().await;
    let mut connection = through(&proxy).await.unwrap();
    proxy.hold(Held::Requests);

    let mut incr = Box::pin(ask::<u64>(&mut connection, "INCR proxy:requests"));
    assert!(timeout(MOMENT, &mut incr).await.is_err());
    let meanwhile = counted(server, "proxy:requests").await;
    proxy.release();

    assert_eq!(meanwhile, 0);
    assert_eq!(within(incr).await.unwrap(), 1);
}

#[tokio::test]
async fn held_replies_are_those_of_applied_commands() {
    let (server, proxy) = proxy().await;
    let mut connection = through(&proxy).await.unwrap();
    proxy.hold(Held::Replies);

    let mut incr = Box::pin(ask::<u64>(&mut connection, "INCR proxy:replies"));
    assert!(timeout(MOMENT, &mut incr).await.is_err());
    let applied = async || (counted(server, "proxy:replies").await == 1).then_some(());
    eventually("the command is applied", applied).await;
    proxy.release();

    assert_eq!(within(incr).await.unwrap(), 1);
}

#[tokio::test]
async fn who_connects_is_refused_until_the_proxy_accepts_again() {
    let (_, proxy) = proxy().await;
    let mut open = through(&proxy).await.unwrap();

    proxy.refuse().await;
    let refused = through(&proxy).await;
    let pong = ask::<String>(&mut open, "PING").await;
    proxy.accept().await;

    assert!(refused.unwrap_err().is_connection_refusal());
    assert!(pong.is_ok());
    assert!(through(&proxy).await.is_ok());
}

#[tokio::test]
async fn answers_take_as_long_as_the_wire() {
    let (_, proxy) = proxy().await;
    let mut connection = through(&proxy).await.unwrap();
    proxy.delay(MOMENT);

    let begin = Instant::now();
    let pong = ask::<String>(&mut connection, "PING").await;

    assert!(pong.is_ok());
    assert!(begin.elapsed() >= 2 * MOMENT);
}

#[tokio::test]
async fn a_seed_cuts_the_same_chunks_each_time() {
    let mut rounds = Vec::new();
    for seed in [1, 1, 2] {
        let (_, proxy) = proxy().await;
        proxy.cut_at_random(seed, 0.2);
        let mut pongs = Vec::new();
        for _ in 0..40 {
            let pong = match through(&proxy).await {
                Ok(mut connection) => ask::<String>(&mut connection, "PING").await.is_ok(),
                Err(_) => false,
            };
            pongs.push(pong);
        }
        let failed = pongs.iter().filter(|pong| !**pong).count();
        assert_eq!(proxy.cuts(), failed);
        rounds.push(pongs);
    }

    assert_eq!(rounds[0], rounds[1]);
    assert_ne!(rounds[0], rounds[2]);
    assert!(rounds[0].contains(&true) && rounds[0].contains(&false));
}

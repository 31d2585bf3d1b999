//! How often the store connects: once at a time, with pauses, and for all verbs.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::time::{Instant, sleep};
use tower_idempotency::{RedisStore, Store};

use super::verbs::{key, name, own_key, request, say, tell};
use crate::servers::{Held, Proxy, Server, eventually, within};

/// A connector that counts.
#[derive(Default)]
struct Connects {
    begun: AtomicU32,
    under_way: AtomicU32,
    /// Whether two were under way at once.
    overlap: AtomicBool,
    hang: AtomicBool,
}

impl Connects {
    async fn connect(self: Arc<Self>, client: Client) -> redis::RedisResult<MultiplexedConnection> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.under_way.fetch_add(1, Ordering::SeqCst) > 0 {
            self.overlap.store(true, Ordering::SeqCst);
        }
        let _done = Done(Arc::clone(&self));
        if self.hang.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        client.get_multiplexed_async_connection().await
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }
}

struct Done(Arc<Connects>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn world(timeout: Duration) -> (Server, Proxy, Arc<Connects>, Arc<RedisStore>) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let connects = Arc::<Connects>::default();
    let client = Client::open(format!("redis://{}", proxy.address())).unwrap();
    let counted = Arc::clone(&connects);
    let connector = move || Arc::clone(&counted).connect(client.clone());
    let store = RedisStore::builder().timeout(timeout);
    let store = within(store.connect_with(connector)).await.unwrap();
    (server, proxy, connects, Arc::new(store))
}

/// Claims a key every few milliseconds for so long; how many claims there were.
async fn claim_for(time: Duration, store: &Arc<RedisStore>) -> u32 {
    let (begin, mut claims) = (Instant::now(), Vec::new());
    while begin.elapsed() < time {
        let (store, number) = (Arc::clone(store), claims.len() as u64);
        claims.push(tokio::spawn(async move {
            let _ = store.claim(&request(key(number))).await;
        }));
        sleep(Duration::from_millis(5)).await;
    }
    let sent = claims.len();
    within(futures_util::future::join_all(claims)).await;
    sent as u32
}

#[tokio::test]
async fn a_hundred_verbs_on_a_broken_connection_share_the_next() {
    let (_server, proxy, connects, store) = world(Duration::from_secs(20)).await;

    for round in 1..4 {
        proxy.cut().await;
        let verbs = (0..100).map(|number| own_key(&store, round * 100 + number));
        within(futures_util::future::join_all(verbs)).await;
    }

    assert_eq!(connects.begun(), 4);
    assert!(!connects.overlap.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_with_growing_pauses() {
    let (_server, proxy, connects, store) = world(Duration::from_millis(500)).await;
    proxy.refuse().await;
    proxy.cut().await;

    let claims = claim_for(Duration::from_secs(2), &store).await;

    // After 50, 100, 200, 400 and 800 ms.
    assert!(claims > 50, "{claims}");
    assert!((3..10).contains(&connects.begun()), "{}", connects.begun());
    assert!(!connects.overlap.load(Ordering::SeqCst));
    proxy.accept().await;
    let claimed = async || store.claim(&request(key(1))).await.ok();
    eventually("the proxy is connected to", claimed).await;
}

/// Connecting works, and nothing else does.
#[tokio::test]
async fn a_replica_that_is_connected_to_again_and_again_is_so_with_growing_pauses() {
    let (server, _proxy, connects, store) = world(Duration::from_millis(500)).await;
    for command in ["ACL SETUSER default -info", "REPLICAOF 127.0.0.1 1"] {
        server.ask::<()>(command).await.unwrap();
    }

    claim_for(Duration::from_secs(3), &store).await;

    assert!((3..10).contains(&connects.begun()), "{}", connects.begun());
    server.ask::<()>("REPLICAOF NO ONE").await.unwrap();
    let claimed = async || store.claim(&request(key(1))).await.ok();
    eventually("the primary is met", claimed).await;
}

#[tokio::test]
async fn who_gives_up_waiting_for_a_connection_leaves_it_to_the_others() {
    let (_server, proxy, connects, store) = world(Duration::from_millis(200)).await;
    connects.hang.store(true, Ordering::SeqCst);
    proxy.cut().await;

    let claims = claim_for(Duration::from_secs(1), &store).await;

    assert!(claims > 25, "{claims}");
    assert_eq!(connects.begun(), 2, "the first, and the one that hangs");
    connects.hang.store(false, Ordering::SeqCst);
    let claimed = async || store.claim(&request(key(1))).await.ok();
    eventually("the proxy is connected to", claimed).await;
    assert!(!connects.overlap.load(Ordering::SeqCst));
}

/// As a Sentinel would have it: the connector knows where the primary is now, and the connection is still there.
#[tokio::test]
async fn who_is_sent_away_by_a_replica_goes_where_the_connector_leads() {
    let servers = [Server::start().await, Server::start().await];
    let place = Arc::new(AtomicU32::new(0));
    let clients = [0, 1].map(|place: usize| Client::open(servers[place].url()).unwrap());
    let chosen = Arc::clone(&place);
    let connector = move || {
        let client = clients[chosen.load(Ordering::SeqCst) as usize].clone();
        async move { client.get_multiplexed_async_connection().await }
    };
    let store = RedisStore::builder().timeout(Duration::from_secs(20));
    let store = within(store.connect_with(connector)).await.unwrap();
    own_key(&store, 1).await;

    place.store(1, Ordering::SeqCst);
    say(&servers[0], "REPLICAOF 127.0.0.1 1").await;
    let owner = own_key(&store, 2).await;

    let there: u8 = tell(&servers[1], &[b"EXISTS", &name(owner.key())]).await;
    assert_eq!(there, 1);
}

/// The connection that was there says nothing any more, as behind a firewall that has forgotten it.
#[tokio::test]
async fn a_connection_that_has_died_in_silence_costs_half_of_a_deadline() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address()).await;
    let dead = Client::open(format!("redis://{}", proxy.address())).unwrap();
    let (alive, is_first) = (Client::open(server.url()).unwrap(), AtomicBool::new(true));
    let connector = move || {
        let is_first = is_first.swap(false, Ordering::SeqCst);
        let client = if is_first {
            dead.clone()
        } else {
            alive.clone()
        };
        async move {
            let patient = AsyncConnectionConfig::new().set_response_timeout(None);
            let made = client.get_multiplexed_async_connection_with_config(&patient);
            made.await
        }
    };
    let timeout = Duration::from_secs(4);
    let store = RedisStore::builder().timeout(timeout);
    let store = within(store.connect_with(connector)).await.unwrap();
    own_key(&store, 1).await;
    proxy.hold(Held::Both);

    let begin = Instant::now();
    own_key(&store, 2).await;
    let first = begin.elapsed();
    own_key(&store, 3).await;

    assert!(first >= timeout / 2 && first <= timeout, "{first:?}");
    assert!(begin.elapsed() < timeout, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_connector_that_panics_is_asked_again() {
    let server = Server::start().await;
    let panics = Arc::new(AtomicBool::new(true));
    let client = Client::open(server.url()).unwrap();
    let connector = move || {
        let (client, panics) = (client.clone(), Arc::clone(&panics));
        async move {
            assert!(!panics.swap(false, Ordering::SeqCst), "it panics");
            client.get_multiplexed_async_connection().await
        }
    };
    let builder = RedisStore::builder();

    let first = within(builder.clone().connect_with(connector.clone())).await;
    let second = within(builder.connect_with(connector)).await;

    assert!(first.is_err());
    own_key(&second.unwrap(), 1).await;
}

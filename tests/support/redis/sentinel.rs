//! A primary, its replica, and three sentinels that watch them.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::eventually;
use super::server::Server;

/// How often sentinels look, in milliseconds. They promote a replica that has told of itself in the time of five pings,
/// and ask it each second while its primary is down. What says that it is a primary, and is not theirs, they make a
/// replica after four publications, in which they would have heard of a failover, also on a busy machine.
const QUICK: &str =
    "SENTINEL DEBUG PING-PERIOD 500 INFO-PERIOD 200 PUBLISH-PERIOD 1000 ASK-PERIOD 200";

/// Two servers and their sentinels, two of which must agree that the primary is gone.
#[derive(Debug)]
pub(crate) struct Sentinel {
    servers: [Server; 2],
    sentinels: Vec<Server>,
    primary: AtomicUsize,
}

impl Sentinel {
    /// Returns when all sentinels agree, and see the replica and each other.
    pub(crate) async fn start() -> Self {
        let (primary, replica) = tokio::join!(Server::start(), Server::start());
        replica.replica_of(&primary).await;
        let watching = [
            format!("sentinel monitor mymaster 127.0.0.1 {} 2", primary.port()),
            // After a failover a sentinel takes up to a second to connect again: less would be the next failover.
            "sentinel down-after-milliseconds mymaster 1500".to_owned(),
            // At most so often does one follow the other by itself, times two.
            "sentinel failover-timeout mymaster 2000".to_owned(),
        ];
        let sentinel = watching
            .into_iter()
            .fold(Server::builder().sentinel(), |builder, line| {
                builder.config(line)
            });
        let sentinels = join_all((0..3).map(|_| sentinel.clone().start())).await;
        for sentinel in &sentinels {
            // Redis 6 does not know this, and takes longer.
            let _ = sentinel.ask::<()>(QUICK).await;
        }
        let watched = Self {
            servers: [primary, replica],
            sentinels,
            primary: AtomicUsize::new(0),
        };
        watched.ready().await;
        watched
    }

    /// `redis+sentinel://127.0.0.1:P1,127.0.0.1:P2,127.0.0.1:P3/mymaster`
    pub(crate) fn url(&self) -> String {
        let addresses = self.sentinels.iter().map(|it| it.address().to_string());
        let addresses = addresses.collect::<Vec<_>>().join(",");
        format!("redis+sentinel://{addresses}/mymaster")
    }

    pub(crate) fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The primary of the beginning, or that of the last failover that was waited for.
    pub(crate) fn primary(&self) -> &Server {
        &self.servers[self.primary.load(Ordering::SeqCst)]
    }

    /// The other one.
    pub(crate) fn replica(&self) -> &Server {
        &self.servers[1 - self.primary.load(Ordering::SeqCst)]
    }

    /// SIGKILL. [`Sentinel::promoted`] waits for what comes of it.
    pub(crate) fn kill_primary(&self) {
        self.primary().kill();
    }

    /// Makes the replica the primary and the primary a replica, and returns when that is done.
    pub(crate) async fn failover(&self) {
        // A sentinel that has not heard of the replica for some time refuses.
        let accepted = || async {
            let answer = self.sentinels[0]
                .ask::<()>("SENTINEL FAILOVER mymaster")
                .await;
            answer.ok()
        };
        eventually("the failover begins", accepted).await;
        self.promoted().await;
        // The sentinels would do the same some seconds later.
        self.replica().replica_of(self.primary()).await;
        self.ready().await;
    }

    /// Returns when the replica is the primary, and all sentinels say so; [`Sentinel::primary`] is that one then.
    pub(crate) async fn promoted(&self) {
        let promoted = || async {
            let views = join_all(self.sentinels.iter().map(master)).await;
            let port = Some(self.replica().port().to_string());
            let agreed = views.iter().all(|view| *view == port);
            (agreed && role(self.replica()).await? == "master").then_some(())
        };
        eventually("the replica is promoted", promoted).await;
        self.primary.fetch_xor(1, Ordering::SeqCst);
    }

    /// Returns when the primary is one, the other one its replica, and every sentinel sees both and the other sentinels.
    pub(crate) async fn ready(&self) {
        let port = self.primary().port().to_string();
        let agreed = || async {
            let linked = self
                .replica()
                .info("replication", "master_link_status")
                .await?
                == "up";
            let roles = [role(self.primary()).await?, role(self.replica()).await?];
            let sees = join_all(self.sentinels.iter().map(|it| sees(it, &port))).await;
            let all = sees.iter().all(|sees| *sees == Some(true));
            (linked && roles == ["master", "slave"] && all).then_some(())
        };
        eventually("the sentinels agree", agreed).await;
    }
}

async fn role(server: &Server) -> Option<String> {
    server.info("replication", "role").await
}

/// The port of the primary by this sentinel.
async fn master(sentinel: &Server) -> Option<String> {
    let address = sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    let (_, port): (String, String) = address.await.ok()?;
    Some(port)
}

/// Whether this sentinel takes this one for the primary, and knows one replica and two other sentinels that all answer.
async fn sees(sentinel: &Server, port: &str) -> Option<bool> {
    let primary = master(sentinel).await? == port;
    let replicas: Vec<Vec<String>> = sentinel.ask("SENTINEL REPLICAS mymaster").await.ok()?;
    let others: Vec<Vec<String>> = sentinel.ask("SENTINEL SENTINELS mymaster").await.ok()?;
    let is = |of: &[String], flags: &str| {
        of.windows(2)
            .any(|pair| pair[0] == "flags" && pair[1] == flags)
    };
    let replicated = replicas.len() == 1 && is(&replicas[0], "slave");
    let watched = others.len() == 2 && others.iter().all(|other| is(other, "sentinel"));
    Some(primary && replicated && watched)
}

//! Servers that share the keys among them.

mod moving;

pub(crate) use moving::Move;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::builder::Builder;
use super::eventually;
use super::server::Server;

const SLOTS: u16 = 16_384;
const MASTERS: usize = 3;

/// Three masters, each with a third of the slots, and a replica each where they are wanted.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Server>,
    ids: Vec<String>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::of(Server::builder(), 0).await
    }

    /// One cluster for all tests of this process that do not hurt it; each has its own prefix of keys.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One of the test's own with a replica for each master.
    pub(crate) async fn with_replicas() -> Self {
        Self::of(Server::builder(), 1).await
    }

    /// The same with nodes like this and so many replicas for each master. Returns when all nodes agree, which takes two
    /// seconds: a master that has just been started does not write earlier.
    pub(crate) async fn of(node: Builder, replicas: usize) -> Self {
        let node = node
            .config("cluster-enabled yes")
            .config("cluster-node-timeout 2000");
        let count = MASTERS * (1 + replicas);
        let nodes = join_all((0..count).map(|_| node.clone().start())).await;
        let ids = nodes.iter().map(|node| node.ask("CLUSTER MYID"));
        let ids = join_all(ids).await.into_iter().map(Result::unwrap);
        let cluster = Self {
            ids: ids.collect(),
            nodes,
        };
        cluster.meet().await;
        cluster.replicate().await;
        cluster.ready().await;
        cluster
    }

    /// Gives the masters their slots and tells all nodes of all others.
    async fn meet(&self) {
        for (number, master) in self.nodes[..MASTERS].iter().enumerate() {
            let [first, next] = [number, number + 1].map(|it| it * usize::from(SLOTS) / MASTERS);
            let slots = (first..next).map(|slot| slot.to_string());
            let line = format!("CLUSTER ADDSLOTS {}", slots.collect::<Vec<_>>().join(" "));
            master.ask::<()>(&line).await.unwrap();
            // Otherwise they begin with the same epoch and have to settle that first.
            let line = format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1);
            master.ask::<()>(&line).await.unwrap();
        }
        for node in &self.nodes {
            for other in self
                .nodes
                .iter()
                .filter(|other| other.port() != node.port())
            {
                let line = format!("CLUSTER MEET 127.0.0.1 {}", other.plain_port());
                node.ask::<()>(&line).await.unwrap();
            }
        }
    }

    async fn replicate(&self) {
        for (number, replica) in self.nodes.iter().enumerate().skip(MASTERS) {
            let line = format!("CLUSTER REPLICATE {}", self.ids[number % MASTERS]);
            // It has to have heard of its master.
            let accepted = || async { replica.ask::<()>(&line).await.ok() };
            eventually("a replica knows its master", accepted).await;
        }
    }

    /// Returns when all nodes that are not killed agree about all slots, and can be written to.
    pub(crate) async fn ready(&self) {
        let agreed = || async {
            let up = self.nodes.iter().filter(|node| node.is_up());
            let views = join_all(up.map(|node| self.view(node))).await;
            let views = views.into_iter().collect::<Option<Vec<_>>>()?;
            let same = views.windows(2).all(|pair| pair[0] == pair[1]);
            let up = |port: &u16| {
                self.nodes
                    .iter()
                    .any(|node| node.port() == *port && node.is_up())
            };
            (same && views[0].iter().all(up)).then_some(())
        };
        eventually("the nodes agree", agreed).await;
    }

    /// The owners of all slots by their ports as this node sees them; `None` where it is not content, or does not know
    /// all nodes and all that replicas have.
    async fn view(&self, node: &Server) -> Option<Vec<u16>> {
        let info: String = node.ask("CLUSTER INFO").await.ok()?;
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        if !info.contains("cluster_state:ok") || !info.contains(&known) {
            return None;
        }
        if let Some(link) = node.info("replication", "master_link_status").await
            && link != "up"
        {
            return None;
        }
        owners(&node.ask::<String>("CLUSTER NODES").await.ok()?)
    }

    /// `redis+cluster://127.0.0.1:P1,127.0.0.1:P2,127.0.0.1:P3`: the masters of the beginning.
    pub(crate) fn url(&self) -> String {
        let addresses = self.nodes[..MASTERS].iter().map(|node| node.address());
        let addresses = addresses.map(|address| address.to_string());
        format!(
            "redis+cluster://{}",
            addresses.collect::<Vec<_>>().join(",")
        )
    }

    /// The masters of the beginning, then their replicas in the same order.
    pub(crate) fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The slot of a key.
    pub(crate) async fn slot_of_key(&self, key: &[u8]) -> u16 {
        let up = self.nodes.iter().find(|node| node.is_up());
        let mut connection = up.unwrap().connect().await;
        let mut slot = redis::cmd("CLUSTER");
        slot.arg("KEYSLOT").arg(key);
        slot.query_async(&mut connection).await.unwrap()
    }

    /// Who owns a slot, as the first node that is content sees it.
    pub(crate) async fn node_of_slot(&self, slot: u16) -> &Server {
        let owner = || async {
            for node in self.nodes.iter().filter(|node| node.is_up()) {
                if let Some(owners) = self.view(node).await {
                    let owner = owners[usize::from(slot)];
                    return self.nodes.iter().find(|node| node.port() == owner);
                }
            }
            None
        };
        eventually("a node knows all slots", owner).await
    }

    /// A master that does not own a slot.
    pub(crate) async fn other_than(&self, slot: u16) -> &Server {
        let owner = self.node_of_slot(slot).await.port();
        let mut others = self.nodes[..MASTERS]
            .iter()
            .filter(|node| node.port() != owner);
        others.next().expect("there are three")
    }

    /// Who owns the slot of a key.
    pub(crate) async fn node_of_key(&self, key: &[u8]) -> &Server {
        self.node_of_slot(self.slot_of_key(key).await).await
    }

    /// Makes this replica the master of what its master has, and returns when all nodes agree about that.
    pub(crate) async fn failover(&self, replica: &Server) {
        replica.ask::<()>("CLUSTER FAILOVER").await.unwrap();
        let promoted = || async {
            let role = replica.info("replication", "role").await?;
            (role == "master").then_some(())
        };
        eventually("the replica is a master", promoted).await;
        self.ready().await;
    }

    fn id(&self, node: &Server) -> &str {
        let ours = self.nodes.iter().position(|it| it.port() == node.port());
        &self.ids[ours.expect("it is a node of this cluster")]
    }
}

/// The ports of the owners of all slots, by the answer to CLUSTER NODES; `None` where a slot has no owner.
///
/// A line: id, address:port@bus, flags, master, ping, pong, epoch, link, slots. Slots that are being moved are in brackets.
fn owners(nodes: &str) -> Option<Vec<u16>> {
    let mut owners = vec![None; usize::from(SLOTS)];
    for line in nodes.lines() {
        let words = line.split(' ').collect::<Vec<_>>();
        let (_, port) = words[1].split_once(':')?;
        let (port, _) = port.split_once('@')?;
        for range in words.iter().skip(8).filter(|word| !word.starts_with('[')) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let range: [usize; 2] = [first.parse().ok()?, last.parse().ok()?];
            owners[range[0]..=range[1]].fill(port.parse().ok());
        }
    }
    owners.into_iter().collect()
}

//! Slots that go from one node to another.

use redis::aio::MultiplexedConnection;

use super::super::server::Server;
use super::{Cluster, MASTERS};

/// A slot that is being moved: its owner answers ASK for what it does not have any more. It stays so until the end is
/// told.
#[derive(Debug)]
#[must_use]
pub(crate) struct Move<'a> {
    cluster: &'a Cluster,
    slot: u16,
    pub(crate) from: &'a Server,
    pub(crate) to: &'a Server,
}

impl Cluster {
    /// Moves a slot and all its keys.
    pub(crate) async fn move_slot(&self, slot: u16, to: &Server) {
        let moving = self.begin_move(slot, to).await;
        moving.keys().await;
        moving.end().await;
    }

    /// Moves each of these slots to the next of the three nodes of the beginning, one after the other.
    pub(crate) async fn reshard(&self, slots: impl IntoIterator<Item = u16>) {
        for slot in slots {
            let owner = self.node_of_slot(slot).await.port();
            let owner = self.nodes.iter().position(|node| node.port() == owner);
            let next = &self.nodes[(owner.unwrap() + 1) % MASTERS];
            self.move_slot(slot, next).await;
        }
    }

    /// Tells both nodes that a slot is going from its owner to the other one. Its keys stay where they are.
    pub(crate) async fn begin_move<'a>(&'a self, slot: u16, to: &'a Server) -> Move<'a> {
        let from = self.node_of_slot(slot).await;
        let line = format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id(from));
        to.ask::<()>(&line).await.unwrap();
        let line = format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.id(to));
        from.ask::<()>(&line).await.unwrap();
        Move {
            cluster: self,
            slot,
            from,
            to,
        }
    }
}

impl Move<'_> {
    /// Moves one key, if it is still there.
    pub(crate) async fn key(&self, key: &[u8]) {
        migrate(&mut self.from.connect().await, self.to, &[key.to_vec()]).await;
    }

    /// Moves all keys of the slot.
    pub(crate) async fn keys(&self) {
        let mut connection = self.from.connect().await;
        loop {
            let mut keys = redis::cmd("CLUSTER");
            keys.arg("GETKEYSINSLOT").arg(self.slot).arg(100);
            let keys: Vec<Vec<u8>> = keys.query_async(&mut connection).await.unwrap();
            if keys.is_empty() {
                return;
            }
            migrate(&mut connection, self.to, &keys).await;
        }
    }

    /// Tells all masters whose the slot is now, the new owner first.
    ///
    /// # Panics
    ///
    /// Where keys are left.
    pub(crate) async fn end(self) {
        let line = format!(
            "CLUSTER SETSLOT {} NODE {}",
            self.slot,
            self.cluster.id(self.to)
        );
        self.to.ask::<()>(&line).await.unwrap();
        self.from.ask::<()>(&line).await.unwrap();
        for node in self.cluster.nodes.iter().filter(|node| node.is_up()) {
            // A replica refuses, and hears of it from its master.
            let _ = node.ask::<()>(&line).await;
        }
    }
}

async fn migrate(from: &mut MultiplexedConnection, to: &Server, keys: &[Vec<u8>]) {
    let mut migrate = redis::cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(to.plain_port()).arg("").arg(0);
    migrate.arg(10_000).arg("KEYS").arg(keys);
    migrate.exec_async(from).await.unwrap();
}

//! One node, or a Cluster.

use std::any::Any;
use std::collections::HashSet;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{Cmd, Pipeline, RedisError, Value};

use super::fault::{Class, Fault};
use super::form;

/// A connection that verbs are sent by. Clones share what they are sent over.
pub(super) enum Connection {
    Node(Box<dyn Node>),
    Cluster(ClusterConnection),
}

/// [`ConnectionLike`] and `Clone`, without the type.
pub(super) trait Node: ConnectionLike + Send + Sync {
    fn duplicate(&self) -> Box<dyn Node>;
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Node for C {
    fn duplicate(&self) -> Box<dyn Node> {
        Box::new(self.clone())
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        match self {
            Self::Node(node) => Self::Node(node.duplicate()),
            Self::Cluster(cluster) => Self::Cluster(cluster.clone()),
        }
    }
}

/// How many replicas have to have a write, and how long that is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) replicas: usize,
    pub(super) at_most: Duration,
}

impl Wait {
    fn command(&self) -> Cmd {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas)
            .arg(form::milliseconds(self.at_most));
        wait
    }

    /// Looks at the answer to [`Wait::command`].
    fn met(&self, answer: Value) -> Result<(), Fault> {
        match answer.extract_error()? {
            Value::Int(replicas) if replicas >= self.replicas as i64 => Ok(()),
            Value::Int(replicas) => Err(Fault::new(
                Class::Unconfirmed,
                format!(
                    "{replicas} of {} replicas have written it in time",
                    self.replicas
                ),
            )),
            _ => Err(Fault::odd()),
        }
    }
}

/// A primary, as its Cluster names it; `None` where there is only one.
pub(super) type Primary = Option<(String, u16)>;

impl Connection {
    pub(super) fn new<C: ConnectionLike + Clone + Send + Sync + 'static>(connection: C) -> Self {
        let any: &dyn Any = &connection;
        match any.downcast_ref::<ClusterConnection>() {
            Some(cluster) => Self::Cluster(cluster.clone()),
            None => Self::Node(Box::new(connection)),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends a command to the primary that holds this key.
    pub(super) async fn send(&mut self, key: &[u8], command: &Cmd) -> Result<Value, Fault> {
        let answer = match self {
            Self::Node(node) => node.req_packed_command(command).await,
            // Never to a replica, whatever the user's connection does with commands that read.
            Self::Cluster(cluster) => {
                let route = RoutingInfo::SingleNode(holder(key));
                cluster.route_command(command.clone(), route).await
            }
        };
        let answer = answer.and_then(Value::extract_error);
        answer.map_err(|error| self.fault(error))
    }

    /// A fault of a call. A Cluster's connection sends by itself again, and tells of the last time alone.
    fn fault(&self, error: RedisError) -> Fault {
        let fault = Fault::from(error);
        match self {
            Self::Node(_) => fault,
            Self::Cluster(_) => fault.of_several_sendings(),
        }
    }

    /// The same, and waits for replicas where the answer is one of those that tell of a write: on the same connection and
    /// right behind the command, or it would tell nothing.
    pub(super) async fn send_and_wait(
        &mut self,
        key: &[u8],
        command: &Cmd,
        wait: &Wait,
        has_written: fn(&Value) -> bool,
    ) -> Result<Value, Fault> {
        let mut both = Pipeline::with_capacity(2);
        both.add_command(command.clone())
            .add_command(wait.command());
        let answers = match self {
            Self::Node(node) => node.req_packed_commands(&both, 0, 2).await,
            Self::Cluster(cluster) => cluster.route_pipeline(both, 0, 2, holder(key)).await,
        };
        let answers = answers.map_err(|error| self.fault(error))?;
        let Ok::<[Value; 2], _>([answer, waited]) = answers.try_into() else {
            return Err(Fault::odd());
        };
        let answer = answer.extract_error().map_err(|error| self.fault(error))?;
        if has_written(&answer) {
            wait.met(waited).map_err(Fault::unconfirmed)?;
        }
        Ok(answer)
    }

    /// Sends a command to every primary.
    pub(super) async fn send_to_all(
        &mut self,
        command: &Cmd,
    ) -> Result<Vec<(Primary, Value)>, Fault> {
        let cluster = match self {
            Self::Node(node) => {
                let answer = node.req_packed_command(command).await?.extract_error()?;
                return Ok(vec![(None, answer)]);
            }
            Self::Cluster(cluster) => cluster,
        };
        let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let Value::Map(answers) = cluster.route_command(command.clone(), all).await? else {
            return Err(Fault::odd());
        };
        let mut from = Vec::with_capacity(answers.len());
        for (node, answer) in answers {
            let node = text(&node).and_then(|node| {
                let (host, port) = node.rsplit_once(':')?;
                Some((host.to_owned(), port.parse().ok()?))
            });
            from.push((Some(node.ok_or_else(Fault::odd)?), answer.extract_error()?));
        }
        // Those that it has no connection to are left out of the answers.
        if from.len() < masters(cluster).await? {
            let said = "not all primaries of the Cluster can be reached";
            return Err(Fault::new(Class::NotApplied, said));
        }
        Ok(from)
    }

    /// Every primary. That of one node needs no asking for.
    pub(super) async fn primaries(&mut self) -> Result<Vec<Primary>, Fault> {
        if !self.is_cluster() {
            return Ok(vec![None]);
        }
        let answers = self.send_to_all(&redis::cmd("PING")).await?;
        Ok(answers.into_iter().map(|(primary, _)| primary).collect())
    }

    /// Sends a command to one primary.
    pub(super) async fn send_to(
        &mut self,
        primary: &Primary,
        command: &Cmd,
    ) -> Result<Value, Fault> {
        let answer = match (self, primary) {
            (Self::Cluster(cluster), Some((host, port))) => {
                let (host, port) = (host.clone(), *port);
                let node = SingleNodeRoutingInfo::ByAddress { host, port };
                let route = RoutingInfo::SingleNode(node);
                cluster.route_command(command.clone(), route).await
            }
            (Self::Cluster(cluster), None) => cluster.req_packed_command(command).await,
            (Self::Node(node), _) => node.req_packed_command(command).await,
        };
        Ok(answer?.extract_error()?)
    }

    /// What a new connection may do about this fault.
    pub(super) fn cure(&self, fault: &Fault) -> Cure {
        match (self, fault.class) {
            (Self::Node(_), Class::Elsewhere | Class::Ambiguous) => Cure::Replace,
            // Its task went with the runtime that it was made in.
            (Self::Cluster(_), Class::Ambiguous) if fault.is_of_lost_task() => Cure::Replace,
            // It looks for its nodes by itself, but not for one that says nothing.
            (Self::Cluster(_), Class::Elsewhere | Class::Ambiguous) => Cure::Renew,
            _ => Cure::None,
        }
    }
}

/// What a new connection may do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cure {
    None,
    /// It serves in the place of one that serves nobody.
    Replace,
    /// It may reach what this one does not reach; for others this one will do.
    Renew,
}

/// How many primaries have slots.
async fn masters(cluster: &mut ClusterConnection) -> Result<usize, Fault> {
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let Value::Array(ranges) = cluster.route_command(slots, any).await?.extract_error()? else {
        return Err(Fault::odd());
    };
    // First slot, last slot, then the primary: address, port, name.
    let name = |range: &Value| match range {
        Value::Array(parts) => match parts.get(2) {
            Some(Value::Array(primary)) => primary.get(2).and_then(text).map(str::to_owned),
            _ => None,
        },
        _ => None,
    };
    let names: HashSet<_> = ranges.iter().filter_map(name).collect();
    Ok(names.len())
}

fn holder(key: &[u8]) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

/// A text, in any of the ways that servers write one.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

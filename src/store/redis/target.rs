//! What a URL names, and how to connect to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::cluster::ClusterClientBuilder;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsCertificates, TlsMode,
};

use super::connection::Connection;
use super::fault::{Class, Fault};
use super::link::Connector;

/// A server, and how it is found.
#[derive(Clone)]
pub(super) enum Target {
    Node(ConnectionInfo),
    /// Sentinels, and the name of the primary that they watch.
    Sentinel(Vec<ConnectionInfo>, String),
    Cluster(Vec<ConnectionInfo>),
}

/// What is not in a URL.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) certificates: Option<TlsCertificates>,
    /// User and password of the Sentinels themselves.
    pub(super) sentinel: Option<(Option<String>, String)>,
}

impl Target {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, Fault> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("it has no scheme"))?;
        let (base, how) = match scheme.split_once('+') {
            Some(("redis", "unix")) | None => (scheme, ""),
            Some((base, how)) => (base, how),
        };
        match (base, how) {
            ("redis" | "rediss" | "unix" | "redis+unix", "") => Ok(Self::Node(info(url)?)),
            ("redis" | "rediss", "sentinel") => {
                let (hosts, path) = rest.split_once('/').ok_or_else(|| wrong(NO_NAME))?;
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() {
                    return Err(wrong(NO_NAME));
                }
                let sentinels = nodes(base, hosts, 26379, &format!("/{database}?{query}"))?;
                Ok(Self::Sentinel(sentinels, name.to_owned()))
            }
            ("redis" | "rediss", "cluster") => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (hosts, tail) = rest.split_at(end);
                Ok(Self::Cluster(nodes(base, hosts, 6379, tail)?))
            }
            _ => Err(wrong(
                "its scheme must be redis, rediss (TLS), redis+unix, redis+sentinel, rediss+sentinel, \
                 redis+cluster or rediss+cluster",
            )),
        }
    }

    /// Connects, and may be called again and again; `patience` bounds what the other nodes of a Cluster wait for one.
    pub(super) fn connector(
        &self,
        access: &Access,
        patience: Duration,
    ) -> Result<Connector, Fault> {
        if self.is_encrypted() && rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(Fault::new(Class::Fatal, NO_PROVIDER));
        }
        let certificates = access.certificates.clone();
        match self {
            Self::Node(info) => {
                let client = match certificates {
                    Some(certificates) if self.is_encrypted() => {
                        Client::build_with_tls(info.clone(), certificates)?
                    }
                    _ => Client::open(info.clone())?,
                };
                Ok(Arc::new(move || {
                    let client = client.clone();
                    Box::pin(async move {
                        let patient = patient();
                        let made = client.get_multiplexed_async_connection_with_config(&patient);
                        Ok(Connection::new(made.await?))
                    })
                }))
            }
            Self::Sentinel(sentinels, name) => {
                let (sentinels, name, access) = (sentinels.clone(), name.clone(), access.clone());
                sentinel(&sentinels, &name, &access)?;
                let attempts = AtomicUsize::new(0);
                Ok(Arc::new(move || {
                    // They are asked in their order; the first may be the one that hangs.
                    let mut sentinels = sentinels.clone();
                    let first = attempts.fetch_add(1, Ordering::Relaxed) % sentinels.len().max(1);
                    sentinels.rotate_left(first);
                    let client = sentinel(&sentinels, &name, &access);
                    Box::pin(async move {
                        let (mut client, patient) = (client?, patient());
                        let made = client.get_async_connection_with_config(&patient);
                        Ok(Connection::new(made.await?))
                    })
                }))
            }
            Self::Cluster(nodes) => {
                // While it looks for a node that hangs, it serves nobody: short against the time of a call.
                let mut client = ClusterClientBuilder::new(nodes.clone())
                    .connection_timeout(patience)
                    .response_timeout(patience)
                    .overall_response_timeout(None)
                    .tcp_settings(prompt());
                if let Some(certificates) = certificates {
                    client = client.certs(certificates);
                }
                let client = client.build()?;
                Ok(Arc::new(move || {
                    let client = client.clone();
                    Box::pin(
                        async move { Ok(Connection::new(client.get_async_connection().await?)) },
                    )
                }))
            }
        }
    }

    fn is_encrypted(&self) -> bool {
        let is_encrypted =
            |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        match self {
            Self::Node(info) => is_encrypted(info),
            Self::Sentinel(nodes, _) | Self::Cluster(nodes) => nodes.iter().any(is_encrypted),
        }
    }
}

/// Without user and password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |nodes: &[ConnectionInfo]| {
            let nodes = nodes.iter().map(|node| node.addr().to_string());
            nodes.collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Node(info) => write!(f, "{}", info.addr()),
            Self::Sentinel(nodes, name) => write!(f, "{name} by sentinels {}", all(nodes)),
            Self::Cluster(nodes) => write!(f, "cluster {}", all(nodes)),
        }?;
        if self.is_encrypted() {
            f.write_str(" over TLS")?;
        }
        Ok(())
    }
}

const NO_NAME: &str = "after its hosts it needs the name of the primary: redis+sentinel://host:26379,host:26379/mymaster";

const NO_PROVIDER: &str = "TLS needs a crypto provider, which the program has to choose: call \
    rustls::crypto::ring::default_provider().install_default() first, or that of aws_lc_rs";

fn wrong(why: &str) -> Fault {
    Fault::new(Class::Fatal, format!("the URL of Redis is wrong: {why}"))
}

fn info(url: &str) -> Result<ConnectionInfo, Fault> {
    url.into_connection_info()
        .map(|info| info.set_tcp_settings(prompt()))
        .map_err(|error| wrong(&error.to_string()))
}

/// `user:password@host:port,host,[::1]:port`, each as a URL of its own.
fn nodes(scheme: &str, hosts: &str, port: u16, tail: &str) -> Result<Vec<ConnectionInfo>, Fault> {
    let (credentials, hosts) = match hosts.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
        None => (String::new(), hosts),
    };
    let nodes = hosts.split(',').map(|host| {
        let host = host.trim();
        if host.is_empty() {
            return Err(wrong("one of its hosts is empty"));
        }
        let after = host.rfind(']').map_or(0, |end| end + 1);
        let port = match host[after..].contains(':') {
            true => String::new(),
            false => format!(":{port}"),
        };
        info(&format!("{scheme}://{credentials}{host}{port}{tail}"))
    });
    nodes.collect()
}

/// Without Nagle's algorithm, which keeps the end of a long record, and a verb behind another one, until the server has
/// acknowledged what went before.
fn prompt() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// No time-outs: whoever calls has one.
fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}

fn sentinel(nodes: &[ConnectionInfo], name: &str, access: &Access) -> RedisResult<SentinelClient> {
    let addresses = nodes.iter().map(|node| node.addr().clone());
    let mut client = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?;
    let Some(first) = nodes.first() else {
        return client.build();
    };
    let redis = first.redis_settings();
    client = client
        .set_client_to_redis_db(redis.db())
        .set_client_to_redis_protocol(redis.protocol())
        .set_client_to_redis_tcp_settings(prompt());
    if let Some(username) = redis.username() {
        client = client.set_client_to_redis_username(username);
    }
    if let Some(password) = redis.password() {
        client = client.set_client_to_redis_password(password);
    }
    if let Some((username, password)) = &access.sentinel {
        client = client.set_client_to_sentinel_password(password);
        if let Some(username) = username {
            client = client.set_client_to_sentinel_username(username);
        }
    }
    if matches!(first.addr(), ConnectionAddr::TcpTls { .. }) {
        client = client.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(certificates) = &access.certificates {
            client = client
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
    }
    client.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Target::parse(url).map_or_else(|fault| fault.to_string(), |target| target.to_string())
    }

    #[test]
    fn urls_name_servers() {
        for (url, expected) in [
            ("redis://localhost", "localhost:6379"),
            ("redis://10.0.0.1:7000/3", "10.0.0.1:7000"),
            ("redis://user:s3cret@h:1/3?protocol=resp3", "h:1"),
            ("rediss://h", "h:6379 over TLS"),
            ("redis+unix:///run/redis.sock", "/run/redis.sock"),
            ("redis+cluster://a", "cluster a:6379"),
            (
                "redis+cluster://a:1,b,[::1],[::1]:2",
                "cluster a:1,b:6379,::1:6379,::1:2",
            ),
            ("redis+cluster://u:s3cret@a:1, b:2/", "cluster a:1,b:2"),
            (
                "redis+cluster://a,b?protocol=resp3",
                "cluster a:6379,b:6379",
            ),
            (
                "redis+sentinel://a,b:1/main",
                "main by sentinels a:26379,b:1",
            ),
            (
                "redis+sentinel://:s3cret@a/main/2?protocol=3",
                "main by sentinels a:26379",
            ),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn every_node_has_what_the_url_says() {
        let url = "rediss+cluster://u:p%40ss@a,b:1/2?protocol=resp3";
        let Ok(Target::Cluster(nodes)) = Target::parse(url) else {
            panic!("{url} is a Cluster");
        };
        assert_eq!(nodes.len(), 2);
        for node in nodes {
            let redis = node.redis_settings();
            assert_eq!(
                (redis.username(), redis.password()),
                (Some("u"), Some("p@ss"))
            );
            assert_eq!(
                (redis.db(), redis.protocol()),
                (2, redis::ProtocolVersion::RESP3)
            );
            assert!(matches!(node.addr(), ConnectionAddr::TcpTls { .. }));
            assert!(node.tcp_settings().nodelay());
        }
    }

    #[test]
    fn what_is_no_url_is_told_so_without_its_password() {
        for url in [
            "",
            "localhost",
            "localhost:6379",
            "http://s3cret@h",
            "redis://",
            "redis://u:s3cret@h:port",
            "redis://u:s3cret@h:1/x",
            "redis+sentinel://u:s3cret@h",
            "redis+sentinel://u:s3cret@h/",
            "redis+sentinel://u:s3cret@h/main/x",
            "redis+cluster://",
            "redis+cluster://u:s3cret@a,,b",
            "redis+other://u:s3cret@a",
            "redis+unix+cluster://a",
        ] {
            let fault = Target::parse(url)
                .err()
                .unwrap_or_else(|| panic!("{url} is no URL"));
            assert_eq!(fault.class, Class::Fatal, "{url}");
            let said = format!("{fault} {fault:?}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}

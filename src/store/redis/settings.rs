//! The server's settings that the promise hangs on.

use super::connection::{Connection, Primary, text};
use super::fault::{Class, Fault};

const NOT_DURABLE: &str = "Redis keeps no append-only file: all records go when its process ends. \
    CONFIG SET appendonly yes, and CONFIG REWRITE";
const UNSEEN: &str = "the settings of Redis could not be looked at: ACL SETUSER <user> +info. \
    See yourself that maxmemory-policy is noeviction, and that there is an append-only file";
const EVICTING: &str = "Redis drops records that have not expired when its memory is full, as was allowed: \
    a request may run twice. CONFIG SET maxmemory-policy noeviction";

/// Looks at every primary.
///
/// # Errors
///
/// Where the promise would be false. Otherwise what an operator should know.
pub(super) async fn check(
    connection: &mut Connection,
    may_evict: bool,
) -> Result<Vec<&'static str>, Fault> {
    let answers = match connection.send_to_all(&redis::cmd("INFO")).await {
        Ok(answers) => answers,
        Err(fault) if fault.is_denied => return Ok(vec![UNSEEN]),
        // A shard that does not answer is no reason to do without the others.
        Err(fault) if fault.class != Class::Fatal && connection.is_cluster() => {
            return Ok(vec![UNSEEN]);
        }
        Err(fault) => return Err(fault),
    };
    let mut advice = Vec::new();
    for (primary, answer) in &answers {
        let Some(info) = text(answer).map(Info) else {
            return Err(Fault::odd());
        };
        for said in info.judge(primary, may_evict)? {
            if !advice.contains(&said) {
                advice.push(said);
            }
        }
    }
    Ok(advice)
}

/// What `INFO` says.
struct Info<'a>(&'a str);

impl Info<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    fn judge(&self, primary: &Primary, may_evict: bool) -> Result<Vec<&'static str>, Fault> {
        let at = match primary {
            Some((host, port)) => format!(" (node {host}:{port})"),
            None => String::new(),
        };
        let wrong = |class, said: String| Err(Fault::new(class, said + &at));
        if let Some(version) = self.get("redis_version") {
            let major = version
                .split('.')
                .next()
                .and_then(|it| it.parse::<u32>().ok());
            if major.is_some_and(|major| major < 6) {
                return wrong(
                    Class::Fatal,
                    format!("Redis {version} is too old: 6.0 at least"),
                );
            }
        }
        if self.get("redis_mode") == Some("sentinel") {
            let said =
                "this is a Sentinel: connect by redis+sentinel://host:26379/name-of-the-primary";
            return wrong(Class::Fatal, said.into());
        }
        if primary.is_none() && self.get("cluster_enabled") == Some("1") {
            let said = "this Redis is a node of a Cluster: connect by redis+cluster://";
            return wrong(Class::Fatal, said.into());
        }
        if self.get("role") == Some("slave") {
            let said = "this Redis is a replica, and takes no writes: connect to its primary, \
                or by redis+sentinel://. REPLICAOF NO ONE makes it a primary";
            return wrong(Class::Elsewhere, said.into());
        }
        let mut advice = Vec::new();
        match self.get("maxmemory_policy") {
            Some("noeviction") => {}
            Some(_) if may_evict => advice.push(EVICTING),
            Some(policy) => {
                let said = format!(
                    "maxmemory-policy is {policy}: Redis would drop records that have not expired, and requests would \
                     run twice. CONFIG SET maxmemory-policy noeviction, and CONFIG REWRITE; \
                     or allow it by name: RedisStore::builder().allow_eviction(true)"
                );
                return wrong(Class::Fatal, said);
            }
            None => advice.push(UNSEEN),
        }
        if self.get("aof_enabled") == Some("0") {
            advice.push(NOT_DURABLE);
        }
        Ok(advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\ncluster_enabled:0\r\nrole:master\r\n\
        maxmemory_policy:noeviction\r\naof_enabled:1\r\n";

    fn judged(info: &str, primary: &Primary, may_evict: bool) -> Result<Vec<&'static str>, String> {
        let judged = Info(info).judge(primary, may_evict);
        judged.map_err(|fault| fault.to_string())
    }

    #[test]
    fn good_settings_need_no_advice() {
        assert_eq!(judged(GOOD, &None, false), Ok(vec![]));
    }

    #[test]
    fn what_makes_the_promise_false_is_refused_with_what_mends_it() {
        let node = Some(("h".to_owned(), 7));
        for (wrong, right, mends) in [
            (
                "policy:noeviction",
                "policy:allkeys-lru",
                "CONFIG SET maxmemory-policy noeviction",
            ),
            (
                "policy:noeviction",
                "policy:volatile-ttl",
                "CONFIG SET maxmemory-policy noeviction",
            ),
            ("role:master", "role:slave", "redis+sentinel://"),
            ("version:7.0.15", "version:5.0.9", "6.0 at least"),
        ] {
            let info = GOOD.replace(wrong, right);
            let said = judged(&info, &None, false).unwrap_err();
            assert!(said.contains(mends), "{said}");
            let said = judged(&info, &node, false).unwrap_err();
            assert!(said.contains("h:7"), "{said}");
        }
        let clustered = GOOD.replace("cluster_enabled:0", "cluster_enabled:1");
        let said = judged(&clustered, &None, false).unwrap_err();
        assert!(said.contains("redis+cluster://"), "{said}");
        assert_eq!(judged(&clustered, &node, false), Ok(vec![]));
    }

    #[test]
    fn what_is_allowed_or_not_known_is_told() {
        let evicting = GOOD.replace("noeviction", "volatile-lru");
        assert_eq!(judged(&evicting, &None, true), Ok(vec![EVICTING]));
        let forgetful = GOOD.replace("aof_enabled:1", "aof_enabled:0");
        assert_eq!(judged(&forgetful, &None, false), Ok(vec![NOT_DURABLE]));
        assert_eq!(judged("", &None, false), Ok(vec![UNSEEN]));
    }
}

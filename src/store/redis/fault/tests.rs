//! What the answers of servers mean.

use redis::{ErrorKind, Value};

use super::*;

/// The error of a server that answers with this line.
fn answered(line: &str) -> RedisError {
    let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
    answer.and_then(Value::extract_error).unwrap_err()
}

#[test]
fn answers_of_the_server_mean_what_they_mean() {
    for (line, class) in [
        ("NOSCRIPT No matching script", Class::NoScript),
        ("OOM command not allowed", Class::Full),
        ("LOADING Redis is loading", Class::NotApplied),
        ("BUSY Redis is busy", Class::NotApplied),
        ("TRYAGAIN Multiple keys", Class::NotApplied),
        ("CLUSTERDOWN Hash slot not served", Class::NotApplied),
        ("NOREPLICAS Not enough", Class::NotApplied),
        ("MISCONF Redis is configured to", Class::NotApplied),
        ("READONLY You can't write", Class::Elsewhere),
        ("MASTERDOWN Link with MASTER is down", Class::Elsewhere),
        ("MOVED 1 h:1", Class::Fatal),
        ("CROSSSLOT Keys in request", Class::Fatal),
        ("WRONGTYPE Operation against", Class::Fatal),
        ("NOPERM this user has no permissions", Class::Fatal),
        ("NOAUTH Authentication required.", Class::Fatal),
        ("WRONGPASS invalid username-password", Class::Fatal),
        ("ERR unknown command", Class::Fatal),
        ("WHATEVER it is", Class::Fatal),
        // Of a script, before Redis 7.
        (
            "ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed when",
            Class::Full,
        ),
        (
            "ERR Error running script (call to f_1): @user_script:9: WRONGTYPE Operation against",
            Class::Fatal,
        ),
        (
            "ERR Error running script (call to f_1): @user_script:9: -READONLY You can't",
            Class::Elsewhere,
        ),
    ] {
        let fault = Fault::from(answered(line));
        assert_eq!(fault.class, class, "{line}");
        assert!(fault.to_string().len() > line.len() / 2, "{fault}");
    }
}

#[test]
fn what_a_command_was_sent_with_is_not_repeated() {
    let line =
        "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 's3cret'";
    let fault = Fault::from(answered(line));
    assert_eq!(fault.class, Class::Fatal);
    assert!(
        !format!("{fault} {fault:?}").contains("s3cret"),
        "{fault:?}"
    );
}

#[test]
fn what_a_cluster_was_sent_before_is_in_doubt_unless_a_script_has_answered() {
    for (line, class) in [
        ("CLUSTERDOWN Hash slot not served", Class::Ambiguous),
        ("READONLY You can't write", Class::Ambiguous),
        ("LOADING Redis is loading", Class::Ambiguous),
        ("OOM command not allowed", Class::Full),
        ("NOSCRIPT No matching script", Class::NoScript),
        ("WRONGTYPE Operation against", Class::Fatal),
    ] {
        let fault = Fault::from(answered(line)).of_several_sendings();
        assert_eq!(fault.class, class, "{line}");
    }
}

#[test]
fn what_happened_on_the_way_is_in_doubt_unless_nobody_was_there() {
    use std::io::{Error, ErrorKind as Io};

    for (error, class) in [
        (
            RedisError::from(Error::from(Io::ConnectionRefused)),
            Class::Elsewhere,
        ),
        (
            RedisError::from(Error::from(Io::ConnectionReset)),
            Class::Ambiguous,
        ),
        (
            RedisError::from(Error::from(Io::TimedOut)),
            Class::Ambiguous,
        ),
        (
            RedisError::from(Error::from(Io::BrokenPipe)),
            Class::Ambiguous,
        ),
        (
            RedisError::from((ErrorKind::Parse, "odd")),
            Class::Ambiguous,
        ),
        (
            RedisError::from((ErrorKind::AuthenticationFailed, "no")),
            Class::Fatal,
        ),
        (
            RedisError::from((ErrorKind::ClusterConnectionNotFound, "no")),
            Class::NotApplied,
        ),
    ] {
        assert_eq!(Fault::from(error.clone()).class, class, "{error}");
    }
}

#[test]
fn no_fault_that_may_hide_a_write_is_told_as_one_that_hides_none() {
    let kind = |class| StoreError::from(Fault::new(class, "")).kind();
    assert_eq!(kind(Class::Ambiguous), StoreErrorKind::Ambiguous);
    assert_eq!(kind(Class::Unconfirmed), StoreErrorKind::Ambiguous);
    assert_eq!(kind(Class::Unreadable), StoreErrorKind::Unreadable);
    assert_eq!(kind(Class::Fatal), StoreErrorKind::Fatal);
    for class in [
        Class::NotApplied,
        Class::Elsewhere,
        Class::Full,
        Class::NoScript,
    ] {
        assert_eq!(kind(class), StoreErrorKind::NotApplied);
    }
}

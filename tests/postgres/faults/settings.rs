//! Settings, users and servers that are wrong, and what is said then.

use std::time::Duration;

use tower_idempotency::{Claim, PostgresStore, Store, StoreErrorKind};

use super::verbs::{
    SCOPE, completed, failed, find, key, migrated, own, own_key, own_store, payload, request,
};
use crate::servers::{Server, eventually, own_schema, within};

async fn refused(url: &str) -> String {
    let (kind, why) = failed(within(PostgresStore::connect(url)).await);
    assert_eq!(kind, StoreErrorKind::Fatal, "{why}");
    why
}

#[tokio::test]
async fn a_missing_schema_says_what_to_run() {
    let server = Server::start().await;

    assert!(
        refused(&server.url())
            .await
            .contains("run PostgresStore::migrate")
    );

    let store = migrated(PostgresStore::builder(), &server.url()).await;
    server.sql("DROP TABLE idempotency.record").await;
    let (kind, why) = failed(store.claim(&request(key(1))).await);
    assert_eq!(kind, StoreErrorKind::Fatal);
    assert!(why.contains("run PostgresStore::migrate"), "{why}");
    assert_eq!(failed(store.ping().await).0, StoreErrorKind::Fatal);

    PostgresStore::migrate(&server.url()).await.unwrap();
    own_key(&store, 1).await;
}

#[tokio::test]
async fn a_wrong_url_is_not_shown() {
    for url in [
        "redis://u:canary@h",
        "postgres://u:canary@h:port/d",
        "postgres:/canary",
        "canary",
    ] {
        let why = refused(url).await;
        assert!(
            why.contains("the URL is wrong") && !why.contains("canary"),
            "{why}"
        );
        let (kind, _) = failed(PostgresStore::migrate(url).await);
        assert_eq!(kind, StoreErrorKind::Fatal);
    }
    let (kind, why) = failed(PostgresStore::connect("postgres://u:canary@127.0.0.1:1/d").await);
    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(
        why.contains("127.0.0.1:1/d") && !why.contains("canary"),
        "{why}"
    );
}

#[tokio::test]
async fn who_may_not_come_in_is_told_why() {
    let server = Server::start().await;
    PostgresStore::migrate(&server.url()).await.unwrap();
    server
        .sql("CREATE USER app PASSWORD 'right'; CREATE USER hidden PASSWORD 'right'")
        .await;
    let rules = "host all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n\
                 hostssl all hidden 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.sql("SELECT pg_reload_conf()").await;

    let url = |user: &str| server.url_as(user);
    let known = async || {
        let why = refused(&url("app:canary")).await;
        why.contains("28P01").then_some(why)
    };
    let why = eventually("the rules are read", known).await;
    assert!(
        why.contains("does not know this user") && !why.contains("canary"),
        "{why}"
    );
    let why = refused(&url("hidden:right")).await;
    assert!(why.contains("wants TLS"), "{why}");
    let wants = url("app:right").replace("sslmode=disable", "sslmode=require");
    let why = refused(&wants).await;
    assert!(why.contains("TLS"), "{why}");
    let nowhere = url("postgres").replace("/app", "/nowhere");
    assert!(refused(&nowhere).await.contains("no such database"));
}

/// The rights that are documented are enough, and each of them is needed.
#[tokio::test]
async fn a_user_needs_the_documented_rights_and_no_others() {
    let server = Server::start().await;
    PostgresStore::migrate(&server.url()).await.unwrap();
    server.sql("CREATE USER app").await;
    let url = server.url_as("app");

    let why = refused(&url).await;
    assert!(why.contains("\"Rights\""), "{why}");
    let grants = [
        "GRANT USAGE ON SCHEMA idempotency TO app",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency.record TO app",
        "GRANT USAGE ON SEQUENCE idempotency.record_fence TO app",
    ];
    for grant in grants {
        refused(&url).await;
        server.sql(grant).await;
    }
    let store = PostgresStore::connect(&url).await.unwrap();
    super::verbs::EachVerb::new(&store, 1)
        .await
        .all_pass()
        .await;
    store.purge().await.unwrap();
    // Nothing is missing: it has no right to make anything, and needs none.
    PostgresStore::migrate(&url).await.unwrap();

    let functions = "ALL FUNCTIONS IN SCHEMA idempotency";
    server
        .sql(&format!("REVOKE EXECUTE ON {functions} FROM PUBLIC"))
        .await;
    let why = refused(&url).await;
    assert!(why.contains("\"Rights\""), "{why}");
    server
        .sql(&format!("GRANT EXECUTE ON {functions} TO app"))
        .await;
    PostgresStore::connect(&url).await.unwrap();

    server
        .sql("REVOKE INSERT ON idempotency.record FROM app")
        .await;
    let (kind, why) = failed(store.claim(&request(key(1))).await);
    assert_eq!(kind, StoreErrorKind::Fatal);
    assert!(why.contains("\"Rights\""), "{why}");
}

#[tokio::test]
async fn a_replica_is_refused_and_left_when_it_is_met_later() {
    let primary = Server::start().await;
    let store = migrated(PostgresStore::builder(), &primary.url()).await;
    let owner = own_key(&store, 1).await;
    let replica = Server::replica_of(&primary).await;

    assert!(
        refused(&replica.url())
            .await
            .contains("Connect to the primary")
    );

    // A primary that has been made a replica.
    primary
        .sql("ALTER SYSTEM SET default_transaction_read_only = on")
        .await;
    primary.sql("SELECT pg_reload_conf()").await;
    let read_only = async || {
        let (kind, why) = failed(PostgresStore::connect(&primary.url()).await);
        (kind == StoreErrorKind::Fatal && why.contains("takes no writes")).then_some(())
    };
    eventually("the server takes no writes", read_only).await;
    let no_write = async || {
        let answer = store.renew(&owner, Duration::from_secs(9), false).await;
        answer.is_err().then(|| failed(answer))
    };
    let (kind, why) = eventually("the connections of the store notice", no_write).await;
    assert_eq!(kind, StoreErrorKind::Fatal);
    assert!(
        why.contains("25006") && why.contains("Connect to the primary"),
        "{why}"
    );

    let writes = "ALTER SYSTEM RESET default_transaction_read_only";
    let mut connection = primary.connect().await;
    for statement in [
        "SET default_transaction_read_only = off",
        writes,
        "SELECT pg_reload_conf()",
    ] {
        sqlx::Executor::execute(&mut connection, statement)
            .await
            .unwrap();
    }
    let again = async || store.complete(&owner, &completed("done")).await.ok();
    eventually("it takes writes again", again).await;
}

/// Whatever the transactions of others are by default, those of the store are not.
#[tokio::test]
async fn a_serializable_default_changes_nothing() {
    let server = Server::with(&["fsync=off", "default_transaction_isolation=serializable"]).await;
    for is_simple in [false, true] {
        let settings = PostgresStore::builder()
            .schema(own_schema())
            .simple_protocol(is_simple);
        let settings = settings.timeout(Duration::from_secs(20));
        let store = migrated(settings, &server.url()).await;

        for number in 0..20 {
            let requests = [(); 12].map(|()| request(key(number)));
            let claims = requests.iter().map(|request| store.claim(request));
            let claims = futures_util::future::join_all(claims).await;
            let owned = claims
                .iter()
                .filter(|claim| matches!(claim, Ok(Claim::Owned(_))))
                .count();
            let found = claims
                .iter()
                .filter(|claim| matches!(claim, Ok(Claim::Existing(_))))
                .count();
            assert_eq!((owned, found), (1, 11), "{claims:?}");
        }
    }
    assert!(!server.log().contains("could not serialize"));
}

#[tokio::test]
async fn a_default_form_of_bytes_changes_nothing() {
    let server = Server::with(&["fsync=off", "bytea_output=escape"]).await;
    for is_simple in [false, true] {
        let settings = PostgresStore::builder()
            .schema(own_schema())
            .simple_protocol(is_simple);
        let settings = settings.timeout(Duration::from_secs(20));
        let store = migrated(settings, &server.url()).await;
        let owner = own_key(&store, 1).await;
        let body = [0, 7, 92, 255];
        store
            .complete(&owner, &completed(body.to_vec()))
            .await
            .unwrap();

        assert_eq!(payload(&find(&store, key(1)).await), body);
        assert_eq!(store.erase_scope(&SCOPE).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_pooler_that_forgets_says_which_setting_it_wants() {
    let server = Server::start().await;
    let bouncer = crate::servers::Bouncer::before(&server).await;
    PostgresStore::migrate(&bouncer.url()).await.unwrap();

    assert!(
        refused(&bouncer.url())
            .await
            .contains("simple_protocol(true)")
    );

    let settings = PostgresStore::builder().simple_protocol(true);
    let store = settings.connect(&bouncer.url()).await.unwrap();
    own_key(&store, 1).await;
    let leaked =
        "SELECT count(*) FROM pg_settings WHERE name = 'statement_timeout' AND setting <> '0'";
    assert_eq!(server.number(leaked).await, 0);
}

#[tokio::test]
async fn settings_that_lose_outcomes_are_told() {
    let server = Server::start().await;
    let store = migrated(PostgresStore::builder(), &server.url()).await;
    let said = store.advice();
    assert!(
        said.len() == 1 && said[0].contains("`fsync` is off"),
        "{said:?}"
    );

    server
        .sql("ALTER DATABASE app SET synchronous_commit = off")
        .await;
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    assert!(store.advice()[0].contains("`synchronous_commit` is off"));
}

#[tokio::test]
async fn debug_and_psql_query_show_what_they_should() {
    let (store, schema) = own_store().await;

    let said = format!("{store:?}");

    assert!(
        said.contains("127.0.0.1:") && said.contains(&schema) && !said.contains("postgres@"),
        "{said}"
    );
    let owner = own(&store, &request(key(1))).await;
    let query = store
        .psql_query(&key(1))
        .replace('*', "fence")
        .replace(';', "");
    let fence = Server::shared().await.number(&query).await;
    assert_eq!(fence as u64, owner.fence().get());
}

#[tokio::test]
async fn a_claim_is_counted_by_the_clock_of_the_server_alone() {
    let (store, schema) = own_store().await;
    let owner = own_key(&store, 1).await;
    let ahead = "UPDATE {}.record SET lease_until = clock_timestamp() - interval '1 second'";
    Server::shared()
        .await
        .sql(&ahead.replace("{}", &schema))
        .await;

    let taken = own(&store, &request(key(1))).await;

    assert!(taken.fence() > owner.fence());
}

#[test]
fn outside_of_a_runtime_nothing_panics() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (store, _) = runtime.block_on(own_store());
    drop(runtime);

    let request = request(key(1));
    let (kind, why) = failed(futures_util::FutureExt::now_or_never(store.claim(&request)).unwrap());

    assert_eq!(kind, StoreErrorKind::NotApplied);
    assert!(why.contains("no tokio runtime"), "{why}");
    drop(store);
}

/// Connections of a runtime that is gone are left for new ones.
#[test]
fn a_store_may_outlive_its_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (store, _) = first.block_on(own_store());
    first.block_on(own_key(&store, 1));
    drop(first);

    runtime().block_on(own_key(&store, 2));
}

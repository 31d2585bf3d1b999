//! Stores and scopes that share a server and nothing else.

use tower_idempotency::{Claim, RedisStore, Store};

use super::verbs::{completed, find, key_of, named, own, patient, payload, request, tell};
use crate::servers::Server;

async fn store(server: &Server, prefix: &str) -> RedisStore {
    let store = RedisStore::builder().prefix(prefix);
    store.connect(&server.url()).await.unwrap()
}

#[tokio::test]
async fn stores_of_different_prefixes_share_nothing() {
    let server = Server::start().await;
    let prefixes = [
        "idem:1", "idem", "idem:", "idem:1:", "i", "*", "idem:?", "[i]dem:1", "é",
    ];
    let (scope, mut stores) = ([7; 16], Vec::new());
    for prefix in prefixes {
        stores.push(store(&server, prefix).await);
    }

    for (store, prefix) in stores.iter().zip(prefixes) {
        let owner = own(store, &request(key_of(scope, 1))).await;
        let done = completed(prefix);
        store.complete(&owner, &done).await.unwrap();
        let there: u8 = tell(&server, &[b"EXISTS", &named(prefix, owner.key())]).await;
        assert_eq!(there, 1, "{prefix}");
    }
    for (store, prefix) in stores.iter().zip(prefixes) {
        let record = find(store, key_of(scope, 1)).await;
        assert_eq!(payload(&record), prefix.as_bytes());
    }
    for (erased, prefix) in stores.iter().zip(prefixes) {
        assert_eq!(erased.erase_scope(&scope).await.unwrap(), 1, "{prefix}");
        assert!(erased.inspect(&key_of(scope, 1)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_scope_is_erased_byte_for_byte() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let mut scopes = vec![
        [b'a'; 16],
        [b'*'; 16],
        [b'?'; 16],
        [b'\\'; 16],
        [0; 16],
        [255; 16],
    ];
    scopes.push(*b"[a]aaaaaaaaaaaaa");
    scopes.push(*b"[^a]aaaaaaaaaaaa");
    scopes.push(*b"[a-z]aaaaaaaaaaa");
    scopes.push(*b"a*aaaaaaaaaaaaaa");
    scopes.push(*b"aaaaaaaaaaaaaaa*");
    scopes.push(*b"aaaaaaaaaaaaaaa?");
    scopes.push(*b"aaaaaaaaaaaaaaa\\");
    scopes.push(*b"\\aaaaaaaaaaaaaaa");
    scopes.push(*b"]aaaaaaaaaaaaaa[");
    scopes.push(*b"{a}aaaaaaaaaaaaa");
    scopes.push(*b"\r\naaaaaaaaaaaaaa");
    for scope in &scopes {
        for number in 0..3 {
            let owner = own(&store, &request(key_of(*scope, number))).await;
            if number == 0 {
                store.complete(&owner, &completed("done")).await.unwrap();
            }
        }
    }
    // Of others, and longer or shorter than a record's.
    let others: [&[u8]; 3] = [
        b"idem:1:aaaaaaaaaaaaaaaa",
        b"idem:1",
        b"idem:2:aaaaaaaaaaaaaaaa",
    ];
    for name in others {
        let _: String = tell(&server, &[b"SET", name, b"another program's"]).await;
    }

    for (place, scope) in scopes.iter().enumerate() {
        let erased = store.erase_scope(scope).await.unwrap();

        assert_eq!(erased, 3, "{}", scope.escape_ascii());
        for (other, there) in scopes.iter().zip(0..) {
            let record = store.inspect(&key_of(*other, 1)).await.unwrap();
            assert_eq!(record.is_some(), there > place, "{}", other.escape_ascii());
        }
    }
    for name in others {
        let value: String = tell(&server, &[b"GET", name]).await;
        assert_eq!(value, "another program's");
    }
}

#[tokio::test]
async fn more_keys_are_erased_than_one_look_finds() {
    let server = Server::start().await;
    let store = patient(&server.url()).await;
    let (scope, other) = ([7; 16], [8; 16]);
    let claim = async |key| {
        let claim = store.claim(&request(key)).await.unwrap();
        assert!(matches!(claim, Claim::Owned(_)), "{claim:?}");
    };
    for chunk in 0..30 {
        let keys = (0..100).map(|number| key_of(scope, chunk * 100 + number));
        futures_util::future::join_all(keys.map(&claim)).await;
        claim(key_of(other, chunk)).await;
    }

    let erased = store.erase_scope(&scope).await.unwrap();
    let twice = store.erase_scope(&scope).await.unwrap();

    assert_eq!((erased, twice), (3_000, 0));
    assert_eq!(store.erase_scope(&other).await.unwrap(), 30);
}

//! What each crate does not do for its figure, and what it does beside, by its source. Where a line can be shown, the
//! table of `behaviour` shows it.

pub(crate) fn first_notes(name: &str) -> &'static str {
    match name {
        "ours, inside" => OURS,
        "ours, inside, nobody's token" => NOBODY,
        "axum-idempotent" => AXUM_IDEMPOTENT,
        "rustango" => RUSTANGO,
        "cratestack-axum 0.8" => CRATESTACK,
        _ => "",
    }
}

pub(crate) fn replay_notes(name: &str) -> &'static str {
    match name {
        "ours, inside" => {
            "reads and hashes the body, compares it, finds the record by who asks, where and the key"
        }
        "axum-idempotent" => {
            "does not read the request's body: finds the record by session and key alone"
        }
        "rustango" => "as ours; the record is parsed from JSON and Base64",
        "cratestack-axum 0.8" => "hashes and compares as ours; clones the record",
        _ => "",
    }
}

pub(crate) fn store_notes(name: &str) -> &'static str {
    match name {
        "bare DashMap" => DASH_MAP,
        "our MemoryStore" => OUR_STORE,
        _ => IDEMPOTENT,
    }
}

pub(crate) fn look_up_notes(name: &str) -> &'static str {
    match name {
        "our MemoryStore" => "one claim, which is what a replay costs the store",
        "idempotent 0.3 MemoryStore" => "the same, as a message to its task",
        _ => "",
    }
}

const OURS: &str = "\
does: digests of key, caller and endpoint; SHA-256 of the request; claim, lease and fence; the handler outlives its client
does not: guard requests without a key; PUT, PATCH and DELETE, until it is told to";

const NOBODY: &str = "as in the other benchmarks, without token and cookie";

// axum-idempotent 0.6.0: `call` in src/lib.rs, `hash_request` in src/utils.rs; ruts 0.13.0: src/store/moka/mod.rs.
const AXUM_IDEMPOTENT: &str = "\
does not: claim (it looks up, runs and stores: two at once both run); read, hash or compare the request (with the key
    another body, path or method is replayed); look at the token; record anything without a session cookie; digest the
    key, which is in its store as it came; run on when the client has gone; drop Set-Cookie from what it replays
more: cookies and a session, which it needs";

// rustango 0.62.0: `handle`, `InFlight`, `release` in src/idempotency.rs; src/cache/mod.rs.
const RUSTANGO: &str = "\
does: digests of key, caller, host and endpoint; SHA-256 of the body; a marker as its claim
does not: run on when the client has gone; fence (an owner whose marker has lapsed stores all the same); keep live records
    when full (beyond 100,000 entries the least recently used go); let a stream flow; share its map (one lock for all)
more: a task per first request that renews its marker; records in JSON and Base64; guards PUT, PATCH and DELETE too";

// cratestack-axum 0.8.15: src/idempotency/service.rs, hash.rs, layer.rs, complete.rs.
const CRATESTACK: &str = "\
over a bare DashMap written here, as it has no store in memory; it drops nothing and has no bounds
does: a digest of the token; SHA-256 of the request; a claim with a token as its fence
does not: run on when the client has gone, and the key is refused until the retention ends, as its claim has no lease; send a
    response beyond 2 MiB (a 500 instead); tell paths apart but as a mismatch; digest the key; drop Set-Cookie
more: guards PUT, PATCH and DELETE too; keeps failures";

const DASH_MAP: &str = "\
one insert and one get_mut; it does not expire, bound, fence, compare, or copy the payload, which is a static here";

const OUR_STORE: &str = "\
does: copy the payload; lease, fence and claim id; expiry without a sweep; bounds by records and bytes; keys are digests";

// idempotent 0.3.0: src/store/memory.rs, src/store.rs, src/entry.rs.
const IDEMPOTENT: &str = "\
does not: copy the payload; bound its records; say whether a completion was applied; renew a claim (it lasts as long as
    its record); keep headers (nothing can be put into its `Metadata`); digest keys; wake those who wait
more: one task owns the map, so that each call is a message and an answer, and sweeps all records by a timer
2.0, whose claims have leases and whose layer outlives the client, needs Rust 1.98";

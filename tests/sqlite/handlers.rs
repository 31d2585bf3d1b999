//! Transactions of handlers on the file of the store: business rows and record are committed together, or neither is.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use rusqlite::TransactionBehavior;
use tower::util::{BoxCloneService, service_fn};
use tower::{Layer, ServiceExt};
use tower_idempotency::{
    Idempotency, IdempotencyLayer, Outcome, RequestBody, ResponseBody, SqliteStore, Store,
    TransactionError,
};

use crate::support::{Scratch, connect};

type Body = Full<Bytes>;
type Transferred = Result<Response<ResponseBody<Body>>, TransactionError<rusqlite::Error>>;
type Service =
    BoxCloneService<Request<Body>, Response<ResponseBody<ResponseBody<Body>>>, Infallible>;

/// A service whose handler works on the file, on a thread that may block. What is refused is a 503 that says why.
async fn serving<F>(path: &Path, handle: F) -> (IdempotencyLayer<SqliteStore>, Service)
where
    F: Fn(&Idempotency, &Path) -> Transferred + Clone + Send + 'static,
{
    let rows = "CREATE TABLE IF NOT EXISTS transfer (id TEXT, fence INTEGER)";
    connect(path).execute_batch(rows).unwrap();
    let layer = IdempotencyLayer::new(SqliteStore::open(path).await.unwrap());
    let path = path.to_owned();
    let handler = service_fn(move |request: Request<RequestBody<Body>>| {
        let key = request.extensions().get::<Idempotency>().unwrap().clone();
        let (path, handle) = (path.clone(), handle.clone());
        let working = tokio::task::spawn_blocking(move || handle(&key, &path));
        async move {
            Ok::<_, Infallible>(working.await.unwrap().unwrap_or_else(|error| {
                let name = format!("{error:?}");
                let name = name.split(['(', ' ']).next().unwrap().to_owned();
                let mut response = Response::new(name.into());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                // The body of a response that was not recorded, in the type of those that were.
                response.map(unrecorded)
            }))
        }
    });
    let service = layer.layer(handler).boxed_clone();
    (layer, service)
}

/// A body as a completion would give it back.
fn unrecorded(body: Body) -> ResponseBody<Body> {
    let passing = service_fn(move |_: Request<RequestBody<Body>>| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let layer = IdempotencyLayer::default();
    let answer = layer.layer(passing).oneshot(Request::new(Body::default()));
    let answer = futures_util::FutureExt::now_or_never(answer);
    answer.unwrap().unwrap().into_body()
}

fn insert(key: &Idempotency, tx: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    let (id, fence) = (key.key().as_str(), key.fence().get().cast_signed());
    let insert = "INSERT INTO transfer VALUES (?1, ?2)";
    tx.execute(insert, rusqlite::params![id, fence]).map(drop)
}

fn transferred(key: &Idempotency) -> Response<Body> {
    let body = format!("transferred under {}", key.fence().get());
    Response::builder().status(201).body(body.into()).unwrap()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
    is_replay: bool,
    recorded: bool,
}

async fn send(service: &Service, key: &str) -> Answer {
    let request = Request::post("/transfers").header("idempotency-key", key);
    let request = request.body(Body::from("100")).unwrap();
    let (head, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        text: String::from_utf8(text.to_vec()).unwrap(),
        is_replay: head.headers.contains_key("idempotent-replayed"),
        recorded: Outcome::of(&head.extensions) == Outcome::Executed { recorded: true },
    }
}

fn transfers(path: &Path) -> Vec<(String, i64)> {
    let connection = connect(path);
    let mut rows = connection
        .prepare("SELECT id, fence FROM transfer")
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn rows_and_record_are_committed_together() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let (_, service) = serving(&path, |key, path| {
        key.transaction_on(&mut connect(path), |tx| {
            insert(key, tx)?;
            Ok(transferred(key))
        })
    })
    .await;

    let first = send(&service, "k").await;
    let replay = send(&service, "k").await;

    assert_eq!((first.status, first.recorded), (201, true));
    assert_eq!((&replay.text, replay.is_replay), (&first.text, true));
    assert_eq!(transfers(&path).len(), 1);
}

#[tokio::test]
async fn an_error_of_the_closure_rolls_back_and_frees_the_key() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let executions = Arc::new(AtomicU32::new(0));
    let (_, service) = serving(&path, move |key, path| {
        let is_first = executions.fetch_add(1, Ordering::SeqCst) == 0;
        key.transaction_on(&mut connect(path), |tx| {
            insert(key, tx)?;
            match is_first {
                true => Err(rusqlite::Error::InvalidQuery),
                false => Ok(transferred(key)),
            }
        })
    })
    .await;

    let first = send(&service, "k").await;
    let rows = transfers(&path).len();
    let second = send(&service, "k").await;

    assert_eq!(
        (first.text.as_str(), first.recorded, rows),
        ("Handler", false, 0)
    );
    assert_eq!((second.status, transfers(&path).len()), (201, 1));
}

#[tokio::test]
async fn a_lost_lease_rolls_back() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let (layer, service) = serving(&path, |key, path| {
        // An operator forgets the key, and with it the owner.
        let done = connect(path).execute("DELETE FROM idempotency_record", []);
        assert_eq!(done.unwrap(), 1);
        key.transaction_on(&mut connect(path), |tx| {
            insert(key, tx)?;
            Ok(transferred(key))
        })
    })
    .await;

    let first = send(&service, "k").await;

    assert_eq!((first.text.as_str(), first.recorded), ("LeaseLost", false));
    assert_eq!(transfers(&path).len(), 0);
    drop(layer);
}

#[tokio::test]
async fn a_commit_that_fails_is_rolled_back() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let (layer, service) = serving(&path, |key, path| {
        let mut connection = connect(path);
        let deferred = "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY); \
            CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)";
        let made = connection.execute_batch(deferred);
        made.map_err(TransactionError::Handler)?;
        key.transaction_on(&mut connection, |tx| {
            tx.execute("INSERT INTO child VALUES (7)", [])?;
            insert(key, tx)?;
            Ok(transferred(key))
        })
    })
    .await;

    let first = send(&service, "k").await;

    assert_eq!((first.text.as_str(), first.recorded), ("Database", false));
    assert_eq!(transfers(&path).len(), 0);
    let (parts, _) = Request::post("/transfers").body(()).unwrap().into_parts();
    let record = layer.record_key_for(&parts, "k").unwrap();
    assert!(layer.store().inspect(&record).await.unwrap().is_none());
}

#[tokio::test]
async fn one_that_was_committed_is_found_behind_another_that_came_too_late() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let (_, service) = serving(&path, |key, path| {
        let mut connection = connect(path);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(TransactionError::Handler)?;
        insert(key, &tx).map_err(TransactionError::Handler)?;
        let completion = key.completion(transferred(key)).unwrap();
        completion.complete_in(&tx).unwrap();
        tx.commit().map_err(TransactionError::Handler)?;
        // Its answer was lost: the handler tries again.
        drop(completion);
        key.transaction_on(&mut connection, |tx| {
            insert(key, tx)?;
            Ok(Response::new("again".into()))
        })
    })
    .await;

    let first = send(&service, "k").await;
    let replay = send(&service, "k").await;

    assert_eq!((first.status, first.recorded), (201, true), "{first:?}");
    assert_eq!((&replay.text, replay.is_replay), (&first.text, true));
    assert_eq!(transfers(&path).len(), 1);
}

#[tokio::test]
async fn a_completion_that_failed_and_is_run_again_is_found() {
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let (_, service) = serving(&path, |key, path| {
        let mut connection = connect(path);
        let completion = key.completion(transferred(key)).unwrap();
        // Another has the file for the time being.
        connection.busy_timeout(Duration::ZERO).unwrap();
        let mut other = connect(path);
        let lock = other.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = connection.transaction().unwrap();
        let busy = completion.complete_in(&tx);
        assert!(matches!(busy, Err(TransactionError::Database(_))));
        drop((tx, lock));

        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(TransactionError::Handler)?;
        insert(key, &tx).map_err(TransactionError::Handler)?;
        completion.complete_in(&tx).unwrap();
        tx.commit().map_err(TransactionError::Handler)?;
        // As where COMMIT is not answered.
        Err(TransactionError::Unsupported)
    })
    .await;

    let first = send(&service, "k").await;
    let replay = send(&service, "k").await;

    assert_eq!((first.status, first.recorded), (201, true), "{first:?}");
    assert_eq!((&replay.text, replay.is_replay), (&first.text, true));
}

const FILE: &str = "SQLITE_TRANSACTION_FILE";
const KEY: &str = "SQLITE_TRANSACTION_KEY";
const AT: &str = "SQLITE_TRANSACTION_AT";
const STEPS: [&str; 6] = [
    "claimed",
    "begun",
    "written",
    "completed",
    "committed",
    "answered",
];

/// Ends where this process is to.
fn step(at: &str, name: &str) {
    if at == name {
        std::process::abort();
    }
}

/// One request, in a process of its own, that may end at any step. Its answer goes to a file.
#[tokio::test]
async fn process() {
    let Ok(path) = env::var(FILE) else {
        return;
    };
    let (key, at) = (env::var(KEY).unwrap(), env::var(AT).unwrap());
    let at: &'static str = at.leak();
    let path = PathBuf::from(path);
    let (layer, _) = serving(&path, |_, _| Err(TransactionError::Unsupported)).await;
    drop(layer);
    let (_, service) = serving(&path, move |key, path| {
        step(at, "claimed");
        let mut connection = connect(path);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(TransactionError::Handler)?;
        step(at, "begun");
        insert(key, &tx).map_err(TransactionError::Handler)?;
        step(at, "written");
        let completion = key.completion(transferred(key)).unwrap();
        completion.complete_in(&tx).unwrap();
        step(at, "completed");
        tx.commit().map_err(TransactionError::Handler)?;
        step(at, "committed");
        Ok(completion.committed())
    })
    .await;
    let answer = send(&service, &key).await;
    if answer.status == 201 {
        let file = path.with_extension(format!("{key}-{}", std::process::id()));
        fs::write(file, answer.text).unwrap();
    }
    step(at, "answered");
}

/// Runs a process to its end; the 201 that it has got.
async fn run(path: &Path, key: &str, at: &str) -> Option<String> {
    let mut process = tokio::process::Command::new(env::current_exe().unwrap());
    process.args(["--exact", "handlers::process"]);
    process.env(FILE, path).env(KEY, key).env(AT, at);
    process
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut process = process.kill_on_drop(true).spawn().unwrap();
    let id = process.id().unwrap();
    let status = tokio::time::timeout(Duration::from_secs(60), process.wait()).await;
    assert_eq!(status.unwrap().unwrap().success(), at.is_empty(), "{at}");
    fs::read_to_string(path.with_extension(format!("{key}-{id}"))).ok()
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_step_loses_and_repeats_nothing() {
    let kills = env::var("KILLS").map_or(60, |kills| kills.parse().unwrap());
    let scratch = Scratch::new();
    let path = scratch.file("a.db");
    let mut answers = Vec::new();
    for kill in 0..kills {
        let (key, at) = (format!("k{kill}"), STEPS[kill % STEPS.len()]);
        let mut seen: Vec<String> = run(&path, &key, at).await.into_iter().collect();
        assert_eq!(seen.len(), usize::from(at == "answered"));
        // The lease of the one that was killed is over, as an operator would have it.
        let ends = "UPDATE idempotency_record SET lease_until = 0 WHERE NOT completed";
        connect(&path).execute(ends, []).unwrap();
        seen.push(run(&path, &key, "").await.expect("the retry is answered"));
        answers.push((key, seen));
    }

    let rows = transfers(&path);
    assert_eq!(rows.len(), kills, "a row too many, or too few");
    for (key, answers) in answers {
        let (_, fence) = rows.iter().find(|(id, _)| *id == key).unwrap();
        for answer in answers {
            assert_eq!(answer, format!("transferred under {fence}"));
        }
    }
}

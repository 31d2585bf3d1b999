//! Processes that are killed, or stand still, at every step of a transaction.
//!
//! A thousand of them: `KILLS=1000 cargo test --all-features --test postgres -- transactions::killed --nocapture`

use std::env;
use std::process::Stdio;
use std::sync::Arc;

use sqlx::Row;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::*;
use crate::servers::eventually;

/// What a process connects to, its schema, its key, and where it ends.
const URL: &str = "POSTGRES_TRANSACTION_URL";
const SCHEMA: &str = "POSTGRES_TRANSACTION_SCHEMA";
const KEY: &str = "POSTGRES_TRANSACTION_KEY";
const AT: &str = "POSTGRES_TRANSACTION_AT";

const LEASE: Duration = Duration::from_millis(700);

/// The steps of an execution.
const STEPS: [&str; 7] = [
    "connected",
    "claimed",
    "begun",
    "written",
    "completed",
    "committed",
    "answered",
];

/// Ends, or stands still, where this process is to.
fn step(at: &str, name: &str) {
    let stands_still = at.strip_prefix("stop:");
    if at == name {
        std::process::abort();
    } else if stands_still == Some(name) {
        let id = std::process::id().to_string();
        let stop = std::process::Command::new("kill")
            .args(["-STOP", &id])
            .status();
        assert!(stop.unwrap().success());
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the process that has started it reads the answer"
)]
fn say(line: &str) {
    println!("\n{line}");
}

/// One request, in a process of its own, that may end at any step.
#[tokio::test]
async fn process() {
    let Ok(url) = env::var(URL) else {
        return;
    };
    let [schema, key, at] = [SCHEMA, KEY, AT].map(|name| env::var(name).unwrap());
    let at: &'static str = at.leak();
    let store = PostgresStore::builder().schema(&schema).no_purge();
    let layer = layer(store.connect(&url).await.unwrap()).lease(LEASE);
    let (pool, insert) = (pool(&url).await, Insert(schema));
    let service = serving(&layer, move |key| {
        let (pool, insert) = (pool.clone(), insert.clone());
        async move {
            step(at, "claimed");
            let mut tx = pool.begin().await.map_err(TransactionError::Handler)?;
            let idle = format!(
                "SET LOCAL idle_in_transaction_session_timeout = {}",
                LEASE.as_millis()
            );
            let idle = sqlx::raw_sql(AssertSqlSafe(idle)).execute(&mut *tx).await;
            idle.map_err(TransactionError::Handler)?;
            step(at, "begun");
            insert
                .run(&mut tx, &key)
                .await
                .map_err(TransactionError::Handler)?;
            step(at, "written");
            let completion = key.complete_in(&mut tx, transferred(&key)).await;
            let Ok(completion) = completion else {
                return Err(TransactionError::LeaseLost);
            };
            step(at, "completed");
            if tx.commit().await.is_err() {
                return Err(TransactionError::LeaseLost);
            }
            step(at, "committed");
            Ok(whole(completion.committed()).await)
        }
    });
    step(at, "connected");
    say("begins");
    let answer = send(&service, &key).await;
    say(&format!("answer {} {}", answer.status, answer.text));
    step(at, "answered");
}

/// Starts a process.
fn start(world: &World, key: &str, at: &str) -> (Child, BufReader<ChildStdout>) {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", "transactions::killed::process", "--nocapture"]);
    process
        .env(URL, world.server.url())
        .env(SCHEMA, &world.schema)
        .env(KEY, key)
        .env(AT, at);
    process
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = process.kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap());
    (process, lines)
}

/// The 201 that a process has told of.
async fn told(lines: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    while within(lines.read_line(&mut line)).await.unwrap() > 0 {
        if let Some(answer) = line.trim_end().strip_prefix("answer 201 ") {
            return Some(answer.to_owned());
        }
        line.clear();
    }
    None
}

/// What a client that retries gets in the end, from processes that go on.
async fn retried(world: &World, key: &str) -> String {
    let again = || async {
        let (mut process, mut lines) = start(world, key, "");
        let answer = told(&mut lines).await;
        assert!(within(process.wait()).await.unwrap().success());
        answer
    };
    eventually("a retry is answered", again).await
}

/// Expects one row of each key, under the fence that its answer tells.
async fn balances(world: &World, answers: &[(String, Vec<String>)]) {
    let sql = format!("SELECT id, fence FROM {}.transfer", world.schema);
    let rows = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(rows.len(), answers.len(), "a row too many, or too few");
    for (key, answers) in answers {
        let of_key = rows.iter().find(|row| row.get::<&str, _>(0) == key);
        let fence = of_key.expect("no row is lost").get::<i64, _>(1);
        for answer in answers {
            let expected = format!("transferred under {fence} in");
            assert!(answer.starts_with(&expected), "{key}: {answer}, {expected}");
            assert_eq!(answer, &answers[0], "answers that differ");
        }
    }
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_step_loses_and_repeats_nothing() {
    let kills = env::var("KILLS").map_or(100, |kills| kills.parse().unwrap());
    let world = Arc::new(World::new().await);
    let keys = Arc::new(AtomicU32::new(0));
    let workers = (0..4).map(|_| {
        let (world, keys) = (world.clone(), keys.clone());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            loop {
                let number = keys.fetch_add(1, Ordering::SeqCst);
                if number >= kills {
                    return answers;
                }
                let key = format!("key-{number}");
                let mut seen = Vec::new();
                match STEPS.get(number as usize % (STEPS.len() + 1)) {
                    Some(at) => {
                        let (mut process, mut lines) = start(&world, &key, at);
                        seen.extend(told(&mut lines).await);
                        assert!(!within(process.wait()).await.unwrap().success(), "{at}");
                        assert_eq!(seen.len(), usize::from(*at == "answered"), "{at}");
                    }
                    // At a moment that nobody has chosen.
                    None => {
                        let (mut process, mut lines) = start(&world, &key, "");
                        let mut line = String::new();
                        while line != "begins\n" {
                            line.clear();
                            let length = within(lines.read_line(&mut line)).await.unwrap();
                            assert!(length > 0, "it has ended");
                        }
                        let pause = u64::from(number) * 7_919 % 12_000;
                        tokio::time::sleep(Duration::from_micros(pause)).await;
                        process.start_kill().unwrap();
                        seen.extend(told(&mut lines).await);
                    }
                }
                seen.push(retried(&world, &key).await);
                answers.push((key, seen));
            }
        })
    });
    let mut answers = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        answers.extend(worker.await.unwrap());
    }

    assert_eq!(answers.len(), kills as usize);
    balances(&world, &answers).await;
}

#[tokio::test]
async fn a_process_that_stands_still_past_its_lease_loses_and_repeats_nothing() {
    let world = Arc::new(World::new().await);
    let steps = ["claimed", "begun", "written", "completed", "committed"];
    let frozen = steps.map(|at| {
        let world = world.clone();
        tokio::spawn(async move {
            let (mut process, mut lines) = start(&world, at, &format!("stop:{at}"));
            let id = process.id().unwrap();
            let stat = format!("/proc/{id}/stat");
            let has_stopped = || async {
                let stat = std::fs::read_to_string(&stat).unwrap();
                stat.contains(") T ").then_some(())
            };
            eventually("it stands still", has_stopped).await;
            // Its successor takes over, as soon as the lease is over and the rows are free.
            let successor = retried(&world, at).await;
            let cont = Command::new("kill")
                .args(["-CONT", &id.to_string()])
                .status();
            assert!(cont.await.unwrap().success());
            let mut answers = vec![successor];
            answers.extend(told(&mut lines).await);
            within(process.wait()).await.unwrap();
            (at.to_owned(), answers)
        })
    });
    let mut answers = Vec::new();
    for frozen in frozen {
        answers.push(frozen.await.unwrap());
    }

    // Whoever had committed has the answer, too.
    let committed = answers.iter().find(|(at, _)| at == "committed").unwrap();
    assert_eq!(committed.1.len(), 2);
    balances(&world, &answers).await;
}

//! The storm: clients that retry until they are answered, while two processes of the API, the provider and the database
//! are killed at moments that nobody chose; now and then one of them only stands still, and comes back. In the end every answer is asked for once more, and the books are read.

mod clients;
mod dice;
mod requests;
mod victims;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::BoxError;
use crate::books::Books;
use crate::provider::Provider;
use crate::settings::{Settings, variable};

use clients::{Client, Done, Shared};
use dice::Dice;
use requests::Kind;
use victims::{Database, Place, Program};

const CLIENTS: u64 = 8;

pub(crate) async fn storm(settings: &Settings) -> Result<ExitCode, BoxError> {
    let number = "a whole number";
    let kills: u32 = variable("KILLS", "100", number, |value| value.parse().ok())?;
    let seed = variable("SEED", "by chance", number, |value| match value {
        "by chance" => Some(dice::seed()),
        value => value.parse::<u32>().ok().map(u64::from),
    })?;
    let (url, folder) = (settings.database()?, settings.database_folder()?);
    let log = settings.charges.with_extension("log");
    println!("{kills} kills, seed {seed}");
    let began = Instant::now();

    let provider = Program::start("provider", &log).await?;
    // Two, so that one takes over what the other has begun, dead or alive.
    let one = Program::start("serve", &log).await?;
    let two = Program::start("serve", &log).await?;
    let apis = [one.place(), two.place()];
    let database = Database::at(url, folder);

    let over = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Shared::default());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let dice = Dice::new(seed + number);
        let client = Client::new(number, apis.clone(), Arc::clone(&shared), dice);
        clients.spawn(client.run(Arc::clone(&over)));
    }

    let (lease, part) = (settings.lease, kills / 4);
    let dice = |number: u64| Dice::new(seed + CLIENTS + number);
    let (one, two, provider, ()) = tokio::try_join!(
        one.haunt(kills - 3 * part, lease, dice(0)),
        two.haunt(part, lease, dice(1)),
        provider.haunt(part, lease, dice(2)),
        database.haunt(part, dice(3)),
    )?;
    over.store(true, Ordering::Relaxed);

    let mut done = Vec::new();
    while let Some(client) = clients.join_next().await {
        done.extend(client??);
    }
    let mut problems = replay(&done, apis).await?;
    let pool = PgPool::connect(url).await?;
    problems.extend(unanswered(&done, &pool).await?);
    let at = Provider::at(settings.provider);
    let mut books = Books::read(&pool, &at)
        .await
        .map_err(|failure| format!("{failure:?}"))?;
    let panicked = fs::read_to_string(&log)?.contains("panicked");
    problems.extend(panicked.then(|| format!("a part has panicked: {}", log.display())));
    books.problems.append(&mut problems);

    let taken_over: i64 =
        sqlx::query_scalar("SELECT count(*) FROM idempotency.record WHERE attempt > 1")
            .fetch_one(&pool)
            .await?;
    let sent: u32 = done.iter().map(|done| done.sent).sum();
    println!(
        "killed: the APIs {} times, provider and database {part} each, in {} s",
        kills - 2 * part,
        began.elapsed().as_secs()
    );
    println!(
        "requests answered: {}, after {sent} calls; taken over from an attempt that was lost: {taken_over}\n",
        done.len()
    );
    println!("{books}");
    for program in [one, two, provider] {
        program.end().await?;
    }
    Ok(books.code())
}

/// Asks for every answer once more: what differs.
async fn replay(done: &[Done], apis: [Place; 2]) -> Result<Vec<String>, BoxError> {
    let mut differing = Vec::new();
    let shared = Arc::new(Shared::default());
    let mut client = Client::new(CLIENTS, apis, shared, Dice::new(0));
    for done in done {
        differing.extend(client.replay(done).await?);
    }
    Ok(differing)
}

/// Rows that no client has heard of, and answers without their row. All clients have been answered: there are none.
async fn unanswered(done: &[Done], pool: &PgPool) -> Result<Vec<String>, BoxError> {
    let mut problems = Vec::new();
    for (kind, query) in [
        (Kind::Account, "SELECT id FROM account ORDER BY id"),
        (Kind::Transfer, "SELECT id FROM transfer ORDER BY id"),
        (Kind::Payment, "SELECT id FROM payment ORDER BY id"),
    ] {
        let rows: Vec<i64> = sqlx::query_scalar(query).fetch_all(pool).await?;
        let of_kind = done.iter().filter(|done| done.request.kind == kind);
        let mut answered: Vec<i64> = of_kind.filter_map(Done::id).collect();
        answered.sort_unstable();
        if rows != answered {
            let (rows, answers) = (rows.len(), answered.len());
            problems.push(format!(
                "{kind:?}: {rows} rows are not those of {answers} answers"
            ));
        }
    }
    Ok(problems)
}

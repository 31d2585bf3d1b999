//! The books: what the database and the provider say, and whether that is the same.

use std::collections::HashMap;
use std::fmt;
use std::process::ExitCode;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::{PgPool, Postgres, Transaction};

use crate::BoxError;
use crate::failure::Failure;
use crate::provider::{Charge, Outcome, Provider};
use crate::serve::Ledger;
use crate::settings::Settings;

/// While payments are under way there are charges without a payment: those are under `problems` until they are booked.
#[derive(Serialize)]
pub(crate) struct Books {
    accounts: i64,
    /// On all accounts together.
    cents: i64,
    transfers: i64,
    payments: usize,
    charges: usize,
    /// By the provider, of cards that were not declined.
    charged_cents: i64,
    declined: usize,
    pub(crate) problems: Vec<String>,
}

impl Books {
    pub(crate) async fn read(pool: &PgPool, provider: &Provider) -> Result<Self, Failure> {
        // One view of the database, and the provider's after it: no payment without its charge.
        let mut tx = pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let (accounts, cents, transfers): (i64, i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(sum(cents), 0)::bigint, (SELECT count(*) FROM transfer) FROM account",
        )
        .fetch_one(&mut *tx)
        .await?;
        let mut problems = twice(&mut tx).await?;
        problems.extend(unexplained(&mut tx).await?);
        let payments: Vec<(String, i64)> =
            sqlx::query_as("SELECT operation::text, cents FROM payment")
                .fetch_all(&mut *tx)
                .await?;
        tx.commit().await?;

        let asked = provider.charges().await.map_err(Failure::Provider)?;
        let (charges, declined): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .partition(|charge| charge.outcome == Outcome::Charged);
        problems.extend(unmatched(&payments, &charges));
        let charged_cents = charges.iter().map(|charge| charge.cents).sum();
        if cents != charged_cents {
            problems.push(format!(
                "{cents} cents on accounts, {charged_cents} charged by the provider"
            ));
        }
        Ok(Self {
            accounts,
            cents,
            transfers,
            payments: payments.len(),
            charges: charges.len(),
            charged_cents,
            declined: declined.len(),
            problems,
        })
    }

    /// Says so, and ends the program by it.
    pub(crate) fn code(&self) -> ExitCode {
        match self.problems.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

/// Operations that have written more than one row.
async fn twice(tx: &mut Transaction<'_, Postgres>) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT kind, operation::text FROM ( \
           SELECT 'accounts' AS kind, operation FROM account UNION ALL \
           SELECT 'transfers', operation FROM transfer UNION ALL \
           SELECT 'payments', operation FROM payment) AS row \
         GROUP BY kind, operation HAVING count(*) > 1",
    )
    .fetch_all(&mut **tx)
    .await?;
    let said = |(kind, operation)| format!("two {kind} of one request, {operation}");
    Ok(rows.into_iter().map(said).collect())
}

/// Accounts whose balance is not what has come in and gone out.
async fn unexplained(tx: &mut Transaction<'_, Postgres>) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT * FROM (SELECT id, cents, ( \
           coalesce((SELECT sum(cents) FROM payment WHERE account = account.id), 0) + \
           coalesce((SELECT sum(cents) FROM transfer WHERE to_account = account.id), 0) - \
           coalesce((SELECT sum(cents) FROM transfer WHERE from_account = account.id), 0))::bigint AS moved \
         FROM account) AS balance WHERE cents <> moved",
    )
    .fetch_all(&mut **tx)
    .await?;
    let said = |(id, cents, moved)| format!("account {id} has {cents} cents, {moved} have moved");
    Ok(rows.into_iter().map(said).collect())
}

/// Payments without their charge, and charges without their payment.
fn unmatched(payments: &[(String, i64)], charges: &[Charge]) -> Vec<String> {
    let mut unbooked: HashMap<&str, i64> = charges
        .iter()
        .map(|charge| (charge.key.as_str(), charge.cents))
        .collect();
    let mut problems = Vec::new();
    if unbooked.len() != charges.len() {
        problems.push("a key was charged twice".to_owned());
    }
    for (operation, cents) in payments {
        match unbooked.remove(operation.as_str()) {
            Some(charged) if charged == *cents => {}
            Some(charged) => problems.push(format!(
                "payment {operation} is of {cents} cents, {charged} were charged"
            )),
            None => problems.push(format!("payment {operation} was not charged")),
        }
    }
    let said = |(key, cents)| format!("a charge of {cents} cents was not booked, {key}");
    problems.extend(unbooked.into_iter().map(said));
    problems
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "accounts   {:>8}  {:>12} cents",
            self.accounts, self.cents
        )?;
        writeln!(f, "transfers  {:>8}", self.transfers)?;
        writeln!(f, "payments   {:>8}", self.payments)?;
        writeln!(
            f,
            "charges    {:>8}  {:>12} cents",
            self.charges, self.charged_cents
        )?;
        writeln!(f, "declined   {:>8}", self.declined)?;
        for problem in &self.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        f.write_str(match self.problems.is_empty() {
            true => "the books balance",
            false => "the books do NOT balance",
        })
    }
}

/// `GET /v1/books`.
pub(crate) async fn show(State(ledger): State<Ledger>) -> Result<Response, Failure> {
    let books = Books::read(&ledger.pool, &ledger.provider).await?;
    Ok(Json(books).into_response())
}

/// `ledger books`.
pub(crate) async fn print(settings: &Settings) -> Result<ExitCode, BoxError> {
    let pool = PgPool::connect(settings.database()?).await?;
    let books = Books::read(&pool, &Provider::at(settings.provider)).await;
    let books = books.map_err(|failure| match failure {
        Failure::Provider(error) => error,
        other => format!("{other:?}").into(),
    })?;
    println!("{books}");
    Ok(books.code())
}

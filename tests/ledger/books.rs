//! The books notice what must not happen.

use crate::world::Ledger;

#[tokio::test]
async fn what_is_wrong_is_named() {
    let ledger = Ledger::start().await;
    let (from, to) = (ledger.account("from").await, ledger.account("to").await);
    ledger.pay("pay", from, 500, "visa").await.is_first(201);
    ledger.transfer("move", from, to, 200).await.is_first(201);
    ledger.balances(1, 500).await;

    let copy = |table: &str, columns: &str| {
        format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT 1")
    };
    let undo =
        |table: &str| format!("DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})");
    for (wrong, undone, problem) in [
        (
            copy("account", "operation, customer"),
            undo("account"),
            "two accounts of one request",
        ),
        (
            copy("transfer", "operation, from_account, to_account, cents"),
            undo("transfer"),
            "two transfers of one request",
        ),
        (
            copy("payment", "operation, account, charge, cents"),
            undo("payment"),
            "two payments of one request",
        ),
        (
            "UPDATE account SET cents = cents + 1 WHERE id = 1".to_owned(),
            "UPDATE account SET cents = cents - 1 WHERE id = 1".to_owned(),
            "account 1 has 301 cents, 300 have moved",
        ),
        (
            "UPDATE account SET cents = cents + 1 WHERE id = 1".to_owned(),
            "UPDATE account SET cents = cents - 1 WHERE id = 1".to_owned(),
            "501 cents on accounts, 500 charged by the provider",
        ),
        (
            "UPDATE payment SET cents = cents + 1".to_owned(),
            "UPDATE payment SET cents = cents - 1".to_owned(),
            "is of 501 cents, 500 were charged",
        ),
        (
            "UPDATE payment SET operation = 'a0000000-0000-4000-8000-000000000000'".to_owned(),
            "SELECT 1".to_owned(),
            "payment a0000000-0000-4000-8000-000000000000 was not charged",
        ),
    ] {
        ledger.sql(&wrong).await;
        let books = ledger.books().await;
        assert!(books.contains(problem), "{books}");
        assert!(books.ends_with("the books do NOT balance\n"), "{books}");
        ledger.sql(&undone).await;
    }
    assert!(
        ledger
            .books()
            .await
            .contains("a charge of 500 cents was not booked")
    );
}

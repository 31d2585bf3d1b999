//! What clients want.

use std::net::SocketAddr;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;

use super::dice::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Account,
    Transfer,
    Payment,
}

/// One request, the same each time that it is sent.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    customer: u64,
    key: String,
    body: String,
}

/// An account, and whose it is.
pub(super) type Account = (u64, i64);

impl Wanted {
    /// Something by chance; an account where the customer has none.
    pub(super) fn any(customer: u64, key: String, accounts: &[Account], dice: &mut Dice) -> Self {
        let own = accounts.iter().filter(|(owner, _)| *owner == customer);
        let own: Vec<i64> = own.map(|(_, id)| *id).collect();
        let (kind, body) = if own.is_empty() || dice.once_in(20) {
            (Kind::Account, String::new())
        } else if dice.once_in(2) {
            let (from, mut to) = (*dice.pick(&own), *dice.pick(accounts));
            while to.1 == from && accounts.len() > 1 {
                to = *dice.pick(accounts);
            }
            let cents = dice.roll(1..5_000);
            let body = json!({ "from": from, "to": to.1, "cents": cents });
            match to.1 == from {
                true => (Kind::Account, String::new()),
                false => (Kind::Transfer, body.to_string()),
            }
        } else {
            let usual = ["visa", "visa", "visa", "declined"];
            let odd = [
                "failing",
                "slow",
                "silent",
                "declined, slow",
                "declined, silent",
            ];
            let cards: &[&str] = if dice.once_in(4) { &odd } else { &usual };
            let (account, card) = (*dice.pick(&own), *dice.pick(cards));
            let cents = dice.roll(1..10_000);
            let body = json!({ "account": account, "cents": cents, "card": card });
            (Kind::Payment, body.to_string())
        };
        Self {
            kind,
            customer,
            key,
            body,
        }
    }

    pub(super) fn request(&self, address: SocketAddr) -> Request<Full<Bytes>> {
        let path = match self.kind {
            Kind::Account => "accounts",
            Kind::Transfer => "transfers",
            Kind::Payment => "payments",
        };
        Request::post(format!("http://{address}/v1/{path}"))
            .header("authorization", format!("Bearer sk_{}", self.customer))
            .header("idempotency-key", &self.key)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(self.body.clone())))
            .expect("all of it is visible ASCII")
    }

    /// The account that an answer to this tells of.
    pub(super) fn opened(&self, id: i64) -> Option<Account> {
        (self.kind == Kind::Account).then_some((self.customer, id))
    }
}

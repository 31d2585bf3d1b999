//! What the provider has done: a file that only grows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What became of a call to charge a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Charged,
    Declined,
}

/// One call, however often it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) id: String,
    /// The `Idempotency-Key` that it was asked by.
    pub(crate) key: String,
    pub(crate) cents: i64,
    pub(crate) card: String,
    pub(crate) outcome: Outcome,
}

pub(crate) struct Charges {
    file: File,
    by_key: HashMap<String, Charge>,
}

impl Charges {
    /// Reads what there is. A line that was cut off by a kill was never answered: it is no charge.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;

        let charges = text[..whole].lines().map(serde_json::from_str::<Charge>);
        let by_key = charges
            .map(|charge| charge.map(|charge| (charge.key.clone(), charge)))
            .collect::<Result<_, _>>()?;
        Ok(Self { file, by_key })
    }

    /// The charge of this key: a new one, in the file before anybody hears of it, or the one that there is.
    ///
    /// What was written outlives a kill of the process. A provider that is none of a play would sync the disk as well.
    pub(crate) fn charge(
        &mut self,
        key: &str,
        cents: i64,
        card: &str,
        outcome: Outcome,
    ) -> io::Result<Charge> {
        let id = format!("ch_{}", self.by_key.len() + 1);
        let entry = match self.by_key.entry(key.to_owned()) {
            Entry::Occupied(there) => return Ok(there.get().clone()),
            Entry::Vacant(entry) => entry,
        };
        let charge = Charge {
            id,
            key: key.to_owned(),
            cents,
            card: card.to_owned(),
            outcome,
        };
        let line = serde_json::to_string(&charge)? + "\n";
        self.file.write_all(line.as_bytes())?;
        Ok(entry.insert(charge).clone())
    }

    pub(crate) fn find(&self, key: &str) -> Option<Charge> {
        self.by_key.get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Charge> {
        self.by_key.values().cloned().collect()
    }
}

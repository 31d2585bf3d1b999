//! The live keys of every scope, where they are limited.

use std::collections::BTreeSet;

use dashmap::{DashMap, Entry};

use super::clock::Moment;
use super::id::Id;

type Scope = [u8; 16];

/// How many records a scope may have, and which.
pub(super) struct Quota {
    most: usize,
    /// In the order in which they expire.
    scopes: DashMap<Scope, BTreeSet<(Moment, Id)>>,
}

impl Quota {
    /// Bytes of memory for a record in its scope.
    const RECORD: usize = 32;
    /// Bytes of memory for a scope.
    const SCOPE: usize = 320;

    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            scopes: DashMap::new(),
        }
    }

    /// Adds a record and says how many bytes that takes; or, where the scope is full, which of its records has expired
    /// first, if any.
    pub(super) fn insert(
        &self,
        scope: Scope,
        id: Id,
        expires: Moment,
        now: Moment,
    ) -> Result<usize, Option<Id>> {
        match self.scopes.entry(scope) {
            Entry::Occupied(records) if records.get().len() >= self.most => {
                let first = records.get().first();
                Err(first.filter(|(at, _)| *at <= now).map(|(_, id)| *id))
            }
            Entry::Occupied(mut records) => {
                records.get_mut().insert((expires, id));
                Ok(Self::RECORD)
            }
            Entry::Vacant(records) => {
                records.insert(BTreeSet::from([(expires, id)]));
                Ok(Self::RECORD + Self::SCOPE)
            }
        }
    }

    /// Removes a record and says how many bytes that frees.
    pub(super) fn remove(&self, scope: Scope, id: Id, expires: Moment) -> usize {
        let last = self.scopes.remove_if_mut(&scope, |_, records| {
            records.remove(&(expires, id));
            records.is_empty()
        });
        if last.is_some() {
            Self::RECORD + Self::SCOPE
        } else {
            Self::RECORD
        }
    }

    pub(super) fn change(&self, scope: Scope, id: Id, before: Moment, after: Moment) {
        if let Some(mut records) = self.scopes.get_mut(&scope) {
            records.remove(&(before, id));
            records.insert((after, id));
        }
    }
}

#[cfg(test)]
impl Quota {
    /// Every record: scope, identifier and expiry.
    pub(super) fn all(&self) -> BTreeSet<(Scope, Id, Moment)> {
        let records = |scope: Scope, records: &BTreeSet<(Moment, Id)>| {
            assert!(!records.is_empty(), "a scope without records is kept");
            records
                .iter()
                .map(|(expires, id)| (scope, *id, *expires))
                .collect::<Vec<_>>()
        };
        self.scopes
            .iter()
            .flat_map(|entry| records(*entry.key(), entry.value()))
            .collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.all().len() * Self::RECORD + self.scopes.len() * Self::SCOPE
    }
}

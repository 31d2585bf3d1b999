//! The store that is examined, and how its author makes one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use super::clock::Clock;
use super::{limit, obligations, quota, room, run};
use crate::key::RecordKey;
use crate::store::boxed::BoxStore;
use crate::store::traits::Store;

pub(super) type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// Makes one record unreadable.
pub(super) type Corrupt = Rc<dyn Fn(RecordKey) -> Local<()>>;

/// A new and empty store, and its means.
pub(super) struct Subject {
    pub(super) store: BoxStore,
    pub(super) corrupt: Option<Corrupt>,
}

/// What a closure of [`store_conformance!`](crate::store_conformance) may give: a store, or a future of one.
pub trait IntoStore<How>: 'static {
    /// The store.
    type Store: Store;

    /// Waits for the store, where it is not there yet.
    fn into_store(self) -> Pin<Box<dyn Future<Output = Self::Store>>>;
}

/// A store that is there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Made;

impl<St: Store> IntoStore<Made> for St {
    type Store = St;

    fn into_store(self) -> Local<St> {
        Box::pin(std::future::ready(self))
    }
}

/// A store that is waited for, as by an async closure.
#[derive(Debug)]
#[non_exhaustive]
pub struct Awaited;

impl<F: Future<Output: Store> + 'static> IntoStore<Awaited> for F {
    type Store = F::Output;

    fn into_store(self) -> Local<F::Output> {
        Box::pin(self)
    }
}

/// The closures of [`store_conformance!`](crate::store_conformance), one method each.
pub struct Candidate<St> {
    make: Box<dyn Fn() -> Local<St>>,
    quota: Option<Box<dyn Fn() -> Local<BoxStore>>>,
    room: Option<Box<dyn Fn() -> Local<BoxStore>>>,
    limit: Option<Box<dyn Fn() -> Local<BoxStore>>>,
    corrupt: Option<Rc<dyn Fn(Arc<St>, RecordKey) -> Local<()>>>,
}

impl<St: Store> Candidate<St> {
    /// A store that is made so.
    pub fn new<R, How>(make: impl Fn() -> R + 'static) -> Self
    where
        R: IntoStore<How, Store = St>,
    {
        Self {
            make: Box::new(move || make().into_store()),
            quota: None,
            room: None,
            limit: None,
            corrupt: None,
        }
    }

    /// With a quota of so many records per scope.
    #[must_use]
    pub fn quota<R: IntoStore<How>, How>(mut self, make: impl Fn(usize) -> R + 'static) -> Self {
        self.quota = Some(bounded(make, quota::RECORDS));
        self
    }

    /// With room for so many records.
    #[must_use]
    pub fn room<R: IntoStore<How>, How>(mut self, make: impl Fn(usize) -> R + 'static) -> Self {
        self.room = Some(bounded(make, room::RECORDS));
        self
    }

    /// With a limit, such that a payload of so many bytes fits, and one of sixteen times as many does not.
    #[must_use]
    pub fn limit<R: IntoStore<How>, How>(mut self, make: impl Fn(usize) -> R + 'static) -> Self {
        self.limit = Some(bounded(make, limit::FITS));
        self
    }

    /// With a way to make a record unreadable.
    #[must_use]
    pub fn corrupt(mut self, corrupt: impl AsyncFn(&St, &RecordKey) + 'static) -> Self {
        let corrupt = Rc::new(corrupt);
        self.corrupt = Some(Rc::new(move |store, key| {
            let corrupt = Rc::clone(&corrupt);
            Box::pin(async move { corrupt(&store, &key).await })
        }));
        self
    }

    /// Examines one obligation.
    ///
    /// # Panics
    ///
    /// If the store does not meet it, or if there is no such obligation.
    pub fn check(&self, clock: &Clock, part: &str, name: &str) {
        let obligation = obligations::all()
            .find(|obligation| obligation.part() == part && obligation.name() == name)
            .unwrap_or_else(|| panic!("there is no obligation {part}::{name}"));
        let variant = match part.split('_').next() {
            Some("quota") => &self.quota,
            Some("room") => &self.room,
            Some("limit") => &self.limit,
            _ => &None,
        };
        let make = || match variant {
            Some(make) => {
                let store = make();
                Box::pin(async move { Subject::new(store.await) }) as Local<Subject>
            }
            None => self.subject(),
        };
        run::check(obligation, clock, &|| self.subject(), &make);
    }

    fn subject(&self) -> Local<Subject> {
        let (store, corrupt) = ((self.make)(), self.corrupt.clone());
        Box::pin(async move {
            let store = Arc::new(store.await);
            let corrupt = corrupt.map(|corrupt| {
                let store = Arc::clone(&store);
                Rc::new(move |key| corrupt(Arc::clone(&store), key)) as Corrupt
            });
            Subject {
                store: BoxStore::shared(store),
                corrupt,
            }
        })
    }
}

impl Subject {
    fn new(store: BoxStore) -> Self {
        let corrupt = None;
        Self { store, corrupt }
    }
}

fn bounded<R: IntoStore<How>, How>(
    make: impl Fn(usize) -> R + 'static,
    bound: usize,
) -> Box<dyn Fn() -> Local<BoxStore>> {
    Box::new(move || {
        let store = make(bound);
        Box::pin(async move { BoxStore::new(store.into_store().await) })
    })
}

impl<St> fmt::Debug for Candidate<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

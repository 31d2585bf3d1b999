//! Around the store: what is applied is entered into the book below the chaos, what the layer asks above it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_idempotency::{
    BoxStore, ChaosStore, Claim, ClaimRequest, Completed, Fence, Forgotten, Owner, Record,
    RecordKey, Settled, Store, StoreError,
};

use crate::book::{Book, End};

/// The store under test; what it applies is entered when it answers.
pub(crate) struct Recorder {
    pub(crate) store: BoxStore,
    pub(crate) book: Book,
}

impl Store for Recorder {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let claim = self.store.claim(request).await?;
        self.book.enter(|book| book.claims(request, &claim));
        Ok(claim)
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        let settled = self.store.renew(owner, lease, committed).await?;
        self.book
            .enter(|book| book.renews(owner, (lease, committed), settled));
        Ok(settled)
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let settled = self.store.complete(owner, completed).await?;
        self.book
            .enter(|book| book.completes(owner, completed, settled));
        Ok(settled)
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let settled = self.store.abandon(owner).await?;
        self.book.enter(|book| book.abandons(owner, settled));
        Ok(settled)
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        let settled = self.store.release(owner).await?;
        self.book.enter(|book| book.releases(owner, settled));
        Ok(settled)
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let record = self.store.inspect(key).await?;
        self.book.enter(|book| book.inspects(key, record.as_ref()));
        Ok(record)
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        let forgotten = self.store.forget(key, force).await?;
        self.book.enter(|book| book.forgets(key, force, forgotten));
        Ok(forgotten)
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        let erased = self.store.erase_scope(scope).await?;
        self.book.enter(|book| book.erases(scope, erased));
        Ok(erased)
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.store.settled(key, fence, at_most).await;
    }
}

/// The way of one process to the store.
pub(crate) struct Port {
    pub(crate) process: usize,
    pub(crate) way: Arc<Mutex<Way>>,
    pub(crate) store: Arc<ChaosStore<Recorder>>,
    pub(crate) book: Book,
}

/// What becomes of what a process asks.
#[derive(Default)]
pub(crate) enum Way {
    #[default]
    Open,
    /// Its runtime is dropped, in any order: whatever is still sent arrives afterwards.
    Closing(Vec<Write>),
    /// It was killed: nothing that it does reaches the store, its destructors neither.
    Dead,
}

/// What an owner may write.
pub(crate) enum Write {
    Renew(Owner, Duration, bool),
    Complete(Owner, Completed),
    Abandon(Owner),
    Release(Owner),
}

impl Write {
    fn end(&self) -> Option<End> {
        match self {
            Self::Renew(..) => None,
            Self::Complete(..) => Some(End::Complete),
            Self::Abandon(..) => Some(End::Abandon),
            Self::Release(..) => Some(End::Release),
        }
    }

    pub(crate) fn owner(&self) -> &Owner {
        match self {
            Self::Complete(owner, _) => owner,
            Self::Renew(owner, ..) | Self::Abandon(owner) | Self::Release(owner) => owner,
        }
    }

    /// Enters that a process asks for this.
    pub(crate) fn asked(&self, book: &Book, process: usize) {
        if let Some(end) = self.end() {
            book.enter(|book| book.asked_to_end(process, self.owner(), end));
        }
    }

    pub(crate) async fn apply(&self, store: &impl Store) -> Result<Settled, StoreError> {
        match self {
            Self::Renew(owner, lease, committed) => store.renew(owner, *lease, *committed).await,
            Self::Complete(owner, completed) => store.complete(owner, completed).await,
            Self::Abandon(owner) => store.abandon(owner).await,
            Self::Release(owner) => store.release(owner).await,
        }
    }
}

impl Port {
    /// Returns if the way is open.
    async fn open(&self) {
        let is_open = matches!(*self.way.lock().unwrap(), Way::Open);
        if !is_open {
            std::future::pending::<()>().await;
        }
    }

    async fn write(&self, write: Write) -> Result<Settled, StoreError> {
        let write = self.sent(write);
        self.open().await;
        let write = write.expect("the way is open");
        write.asked(&self.book, self.process);
        write.apply(&self.store).await
    }

    /// Takes what is sent while the process ends.
    fn sent(&self, write: Write) -> Option<Write> {
        match &mut *self.way.lock().unwrap() {
            Way::Closing(sent) => sent.push(write),
            Way::Dead | Way::Open => return Some(write),
        }
        None
    }
}

impl Store for Port {
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        self.open().await;
        self.store.claim(request).await
    }

    async fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
        committed: bool,
    ) -> Result<Settled, StoreError> {
        self.write(Write::Renew(*owner, lease, committed)).await
    }

    async fn complete(&self, owner: &Owner, completed: &Completed) -> Result<Settled, StoreError> {
        let settled = self.write(Write::Complete(*owner, completed.clone())).await;
        self.book.look().heard_completed(owner, &settled);
        settled
    }

    async fn abandon(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.write(Write::Abandon(*owner)).await
    }

    async fn release(&self, owner: &Owner) -> Result<Settled, StoreError> {
        self.write(Write::Release(*owner)).await
    }

    async fn inspect(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.open().await;
        self.store.inspect(key).await
    }

    async fn forget(&self, key: &RecordKey, force: bool) -> Result<Forgotten, StoreError> {
        self.open().await;
        self.store.forget(key, force).await
    }

    async fn erase_scope(&self, scope: &[u8; 16]) -> Result<u64, StoreError> {
        self.open().await;
        self.store.erase_scope(scope).await
    }

    async fn settled(&self, key: &RecordKey, fence: Fence, at_most: Duration) {
        self.open().await;
        self.store.settled(key, fence, at_most).await;
    }
}

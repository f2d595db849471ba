//! Which bytes of a memory has anybody written, as far as a resource in it can tell?
//!
//! Contents of a private resource and of a fresh alias on a heap are undefined until they are written. A write counts
//! for every resource that lives in these bytes at that time. Deliberately absent: who reads. Tested by
//! `tests/observe.rs`.

use lockgate_runtime::{ByteSet, StorageMode};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Numbers of memories, over all devices.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The resources in a memory.
#[derive(Debug)]
pub(crate) struct Tenants {
    /// Of no other memory.
    pub(crate) number: u64,
    storage: StorageMode,
    state: Mutex<Moves>,
}

#[derive(Debug, Default)]
struct Moves {
    tenants: Vec<Weak<Written>>,
    /// Bytes that some resource has had.
    used: ByteSet,
}

/// What of one resource was written since it was made, in bytes of its memory.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) range: Range<u64>,
    /// Whether its contents are undefined at first.
    undefined: bool,
    bytes: Mutex<ByteSet>,
}

impl Tenants {
    pub(crate) fn new(storage: StorageMode) -> Tenants {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Tenants { number, storage, state: Mutex::default() }
    }

    /// A resource is made in these bytes.
    pub(crate) fn move_in(&self, range: Range<u64>) -> Arc<Written> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let own = ByteSet::from(range.clone());
        let undefined = self.storage == StorageMode::Private || !state.used.intersection(&own).is_empty();
        state.used.union(&own);
        let written = Arc::new(Written { range, undefined, bytes: Mutex::default() });
        state.tenants.retain(|tenant| tenant.strong_count() > 0);
        state.tenants.push(Arc::downgrade(&written));
        written
    }

    /// Somebody has written bytes of the memory.
    pub(crate) fn write(&self, bytes: &ByteSet) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in state.tenants.iter().filter_map(Weak::upgrade).filter(|tenant| tenant.undefined) {
            let inside = bytes.intersection(&tenant.range.clone().into());
            tenant.bytes.lock().unwrap_or_else(PoisonError::into_inner).union(&inside);
        }
    }
}

impl Written {
    /// The bytes of the memory in a range that the resource has undefined.
    pub(crate) fn missing(&self, range: Range<u64>) -> ByteSet {
        if !self.undefined {
            return ByteSet::new();
        }
        let mut missing = ByteSet::from(range);
        missing.subtract(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        missing
    }
}

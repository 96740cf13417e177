use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use mayfly_types::Region;

/// Requests under way that came in at a region and went to another, by the region they came in at. Counted only once
/// somebody has asked for the numbers: nobody else pays for the lock.
#[derive(Debug, Default)]
pub(super) struct Far {
    asked: AtomicBool,
    regions: Mutex<BTreeMap<Region, u32>>,
}

impl Far {
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self, region: &Region) {
        *self.regions().entry(region.clone()).or_default() += 1;
    }

    pub(super) fn leave(&self, region: &Region) {
        let mut regions = self.regions();
        if let Some(count) = regions.get_mut(region) {
            *count -= 1;
            if *count == 0 {
                regions.remove(region);
            }
        }
    }

    /// What there is now; from the first call on it is counted.
    pub(super) fn look(&self) -> BTreeMap<Region, u32> {
        self.asked.store(true, Ordering::Relaxed);
        self.regions().clone()
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<Region, u32>> {
        self.regions.lock().expect("no holder of this lock panics")
    }
}

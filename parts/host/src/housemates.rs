use std::collections::HashSet;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use mayfly_types::{Digest, MachineId};

use crate::api::needed;
use crate::host::Shared;

/// The hosts that share one driver and one store of images: several regions on one machine. Clones are the same
/// household; every host of it must be built before the first one runs.
///
/// What no host of the household needs may be removed. What only this one does not need may not.
#[derive(Clone, Default)]
pub struct Housemates(Arc<Mutex<Vec<Weak<Shared>>>>);

impl Housemates {
    pub(crate) fn join(&self, host: &Arc<Shared>) {
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .push(Arc::downgrade(host));
    }

    fn all(&self) -> Vec<Arc<Shared>> {
        let mates = self.0.lock().expect("no holder of this lock panics");
        mates.iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether this host does what one of the household has to do for all.
    pub(crate) fn are_led_by(&self, host: &Arc<Shared>) -> bool {
        let first = self.all().into_iter().next();
        first.is_some_and(|first| Arc::ptr_eq(&first, host))
    }

    /// Whether a journal of the household wants something of this machine to exist. In doubt it does.
    pub(crate) async fn own(&self, machine: MachineId) -> bool {
        for mate in self.all() {
            if mate.owns(machine).await {
                return true;
            }
        }
        false
    }

    /// Waits until machines that are being destroyed are gone, at most `patience`.
    pub(crate) async fn let_go(&self, patience: Duration) {
        let gone = async {
            for mate in self.all() {
                mate.registry.destroyed().await;
            }
        };
        // One that takes longer keeps its images.
        let _ = tokio::time::timeout(patience, gone).await;
    }

    /// The images that machines of the household cannot do without.
    pub(crate) fn images_in_use(&self) -> HashSet<Digest> {
        let mates = self.all();
        let machines = mates.iter().flat_map(|mate| mate.registry.all());
        machines
            .flat_map(|stored| needed(&stored.machine))
            .collect()
    }
}

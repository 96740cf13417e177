//! What the requests of one HTTP/2 connection share: they are served side by side, so none has it for itself.

use std::sync::{Arc, Mutex, MutexGuard};

use super::limits::Slot;
use super::memory::Held;
use super::site::Known;

#[derive(Debug, Default)]
pub(crate) struct Shared {
    held: Mutex<Option<Box<Held>>>,
    slot: Mutex<Option<Slot>>,
    known: Mutex<Option<Arc<Known>>>,
}

impl Shared {
    /// The machine's connection that waits for the next request. It keeps counting as the machine's load.
    pub(crate) fn take_held(&self) -> Option<Box<Held>> {
        lock(&self.held).take()
    }

    /// Keeps a machine's connection for the next request, if none waits already: like a client of HTTP/1, one that asks
    /// nothing has one connection at most, and the others that it needed for a moment are closed.
    pub(crate) fn hold(&self, held: Box<Held>) {
        let spare = {
            let mut place = lock(&self.held);
            match *place {
                None => place.replace(held),
                Some(_) => Some(held),
            }
        };
        // Others may be let in by what ends here.
        drop(spare);
    }

    /// Where the connection's requests are counted.
    pub(crate) fn slot(&self) -> MutexGuard<'_, Option<Slot>> {
        lock(&self.slot)
    }

    /// What the last request was for.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        lock(&self.known).clone()
    }

    pub(crate) fn remember(&self, known: &Arc<Known>) {
        let mut last = lock(&self.known);
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, known)) {
            *last = Some(Arc::clone(known));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

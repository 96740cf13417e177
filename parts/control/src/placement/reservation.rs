use std::sync::{Arc, Mutex, MutexGuard};

use mayfly_types::{AppId, HostId};

/// Places given to machines that are not recorded yet.
#[derive(Default)]
pub(crate) struct Reservations {
    held: Arc<Mutex<Vec<(HostId, AppId)>>>,
    turn: tokio::sync::Mutex<()>,
}

/// A place on a host, given back when this is dropped.
pub(crate) struct Reservation {
    held: Arc<Mutex<Vec<(HostId, AppId)>>>,
    place: (HostId, AppId),
}

impl Reservations {
    /// Decisions are taken one after the other, each knowing those before it.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(crate) fn now(&self) -> Vec<(HostId, AppId)> {
        lock(&self.held).clone()
    }

    pub(crate) fn reserve(&self, host: HostId, app: AppId) -> Reservation {
        lock(&self.held).push((host, app));
        Reservation {
            held: self.held.clone(),
            place: (host, app),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(at) = held.iter().position(|place| *place == self.place) {
            held.swap_remove(at);
        }
    }
}

fn lock(held: &Mutex<Vec<(HostId, AppId)>>) -> MutexGuard<'_, Vec<(HostId, AppId)>> {
    held.lock().expect("no holder of this lock panics")
}

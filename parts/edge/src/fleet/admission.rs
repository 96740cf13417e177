use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use mayfly_types::{MachineId, Region};

use super::app::Service;
use super::backend::Backend;
use super::seat::Seat;

/// A request's place at a machine: counted from admission until it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) service: Arc<Service>,
    /// Its machine's place among the service's.
    member: usize,
    /// The machine that was preferred and could not take the request.
    pub(crate) preferred_unavailable: Option<MachineId>,
    served: bool,
    /// Where the request came in, if that is counted.
    far_from: Option<Region>,
}

impl Admission {
    /// Takes over one unit of load that was acquired on the seat of this member of the service.
    pub(super) fn new(service: Arc<Service>, member: usize) -> Admission {
        Admission {
            service,
            member,
            preferred_unavailable: None,
            served: true,
            far_from: None,
        }
    }

    /// Counts the request as one that came in at `region` and went elsewhere, if it did and somebody asks for that.
    pub(super) fn came_from(&mut self, region: &Region) {
        let far = &self.service.gate.far;
        if far.is_asked() && self.seat().backend.region != *region {
            far.enter(region);
            self.far_from = Some(region.clone());
        }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        self.seat().addresses()
    }

    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.service.members[self.member].seat
    }

    pub(crate) fn port(&self) -> u16 {
        self.seat().port
    }

    /// Whether the connection to the machine may be kept for the next request.
    pub(crate) fn pools(&self) -> bool {
        self.service.pools()
    }

    /// The machine had no work from this request: it does not count as traffic.
    pub(crate) fn failed(&mut self) {
        self.served = false;
    }
}

impl Deref for Admission {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.seat().backend
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.seat().release(self.served);
        if let Some(region) = &self.far_from {
            self.service.gate.far.leave(region);
        }
        // Other ways into the app may wait for this machine too, if they share the port: their gate is the same.
        if !self.service.gate.is_idle() {
            self.service.gate.pump();
        }
    }
}

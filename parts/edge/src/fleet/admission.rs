use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use mayfly_types::MachineId;

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
}

impl Admission {
    /// Takes over one unit of load that was acquired on the seat of this member of the service.
    pub(super) fn new(service: Arc<Service>, member: usize) -> Admission {
        Admission {
            service,
            member,
            preferred_unavailable: None,
            served: true,
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
        // Other ways into the app may wait for this machine too, if they share the port: their gate is the same.
        if !self.service.gate.is_idle() {
            self.service.gate.pump();
        }
    }
}

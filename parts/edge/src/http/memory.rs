//! What a client's connection remembers between its requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::limits::Slot;
use super::site::Known;
use crate::fleet::{Admission, Service};

/// How long nothing may move on an exchange or between two (Fly.io closes idle connections after 60 s).
pub(crate) const IDLE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a head may take from its first byte to its last.
pub(crate) const HEAD_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) held: Option<Box<Held>>,
    pub(crate) slot: Option<Slot>,
    pub(crate) known: Option<Arc<Known>>,
    /// By the service of the last request.
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
}

/// A machine's connection that belongs to one client's: how services are served whose limits count connections.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) service: Arc<Service>,
    pub(crate) admission: Admission,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            held: None,
            slot: None,
            known: None,
            idle: IDLE_PATIENCE,
            head: HEAD_PATIENCE,
        }
    }
}

//! Images built from sources: each organization has a builder machine, which is woken when there is something to build.

mod builder;
mod stream;
mod ticket;

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

pub(crate) use stream::start;
use ticket::Tickets;

/// Builds at once, over all organizations.
const BUILDS_MAX: usize = 32;

/// What builds of this process share.
pub(crate) struct Builds {
    tickets: Tickets,
    /// Held while a builder is looked for, made or woken: two builds must not make two.
    preparing: Mutex<()>,
    places: Arc<Semaphore>,
}

impl Default for Builds {
    fn default() -> Self {
        Self {
            tickets: Tickets::default(),
            preparing: Mutex::new(()),
            places: Arc::new(Semaphore::new(BUILDS_MAX)),
        }
    }
}

impl Builds {
    /// The app whose images may be pushed and pulled with this token, if it is the ticket of a build.
    pub(crate) fn app_of(&self, token: &str) -> Option<mayfly_types::AppId> {
        self.tickets.app_of(token)
    }
}

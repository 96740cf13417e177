use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::channel::Channel;

/// Idle connections kept to one machine by one core; above it the oldest is closed. As many as are commonly busy at one
/// moment: those that end a burst together would otherwise be opened anew for the next.
const IDLE_PER_MACHINE: usize = 256;
/// Shorter than the keep-alive limits common servers have (Node: 5 s), so that theirs rarely ends first.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Connections to machines that wait for their next request; the one used last is taken first.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<(Instant, Channel)>>>,
}

impl Pool {
    pub(crate) fn take(&self, address: SocketAddr) -> Option<Channel> {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        let waiting = idle.get_mut(&address)?;
        while let Some((since, channel)) = waiting.pop() {
            if since.elapsed() < IDLE_MAX && channel.is_quiet() {
                return Some(channel);
            }
        }
        None
    }

    pub(crate) fn put(&self, address: SocketAddr, mut channel: Channel) {
        channel.reader.rest();
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        let waiting = idle.entry(address).or_default();
        if waiting.len() == IDLE_PER_MACHINE {
            waiting.remove(0);
        }
        waiting.push((Instant::now(), channel));
    }

    /// Closes what has waited too long; called now and then by the core.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        idle.retain(|_, waiting| {
            waiting.retain(|(since, _)| since.elapsed() < IDLE_MAX);
            !waiting.is_empty()
        });
    }
}

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use foldhash::fast::RandomState;

use super::channel::Channel;
use super::pulse::TICK;

/// Idle connections kept to one machine by one core; above it the oldest is closed. As many as are commonly busy at one
/// moment: those that end a burst together would otherwise be opened anew for the next.
const IDLE_PER_MACHINE: usize = 256;
/// How many ticks a connection waits, 4 s at most: shorter than the keep-alive limits common servers have (Node: 5 s),
/// so that theirs rarely ends first.
const IDLE_TICKS: u64 = 4_000 / TICK.as_millis() as u64;

/// Connections to machines that wait for their next request; the one used last is taken first.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// Counted by [`Pool::sweep`]: nothing here asks the clock.
    tick: u64,
    /// With the tick at which each was put here.
    machines: HashMap<SocketAddr, Vec<(u64, Channel)>, RandomState>,
}

impl Pool {
    pub(crate) fn take(&self, address: SocketAddr) -> Option<Channel> {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        let waiting = idle.machines.get_mut(&address)?;
        while let Some((_, channel)) = waiting.pop() {
            if channel.is_quiet() {
                return Some(channel);
            }
        }
        None
    }

    pub(crate) fn put(&self, address: SocketAddr, mut channel: Channel) {
        channel.reader.rest();
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        let tick = idle.tick;
        let waiting = idle.machines.entry(address).or_default();
        if waiting.len() == IDLE_PER_MACHINE {
            waiting.remove(0);
        }
        waiting.push((tick, channel));
    }

    /// Closes what has waited too long; called by the core at every tick.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        idle.tick += 1;
        let tick = idle.tick;
        idle.machines.retain(|_, waiting| {
            waiting.retain(|(since, _)| tick - *since < IDLE_TICKS);
            !waiting.is_empty()
        });
    }
}

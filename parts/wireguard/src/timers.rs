//! What happens without traffic: new keys before the old ones age, retries, keepalives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::TunnResult;

use crate::peer::Peer;
use crate::userspace::Inner;

/// The precision of all times, as in other implementations in user space.
const PERIOD: Duration = Duration::from_millis(250);
/// Room for a handshake message.
pub(crate) const MESSAGE_BYTES: usize = 256;

impl Inner {
    pub(crate) async fn keep_time(&self) {
        let mut turns = tokio::time::interval(PERIOD);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.limiter.reset_count();
            let now = Instant::now();
            for peer in self.table().by_key.values() {
                self.turn(peer, now);
            }
        }
    }

    fn turn(&self, peer: &Arc<Peer>, now: Instant) {
        let mut message = [0; MESSAGE_BYTES];
        let Some(way) = peer.way() else {
            // Nobody to speak to; only the ages of keys go on.
            peer.tunnel().update_timers(&mut message);
            return;
        };
        let mut tunnel = peer.tunnel();
        if let TunnResult::WriteToNetwork(datagram) = tunnel.update_timers(&mut message) {
            self.send_datagram(peer, &way, datagram);
        }
        peer.note_handshake(now, tunnel.time_since_last_handshake());
        // Also when the last handshakes were in vain: the other side may be back.
        if peer.is_silent(now)
            && let TunnResult::WriteToNetwork(datagram) = tunnel.encapsulate(&[], &mut message)
        {
            self.send_datagram(peer, &way, datagram);
        }
    }
}

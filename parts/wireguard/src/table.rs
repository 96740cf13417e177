use std::collections::HashMap;
use std::sync::Arc;

use mayfly_types::PeerKey;

use crate::allowed::RangeMap;
use crate::peer::Peer;

/// The peers of an interface, found by key, by slot and by address. Immutable: a change makes a new one.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) by_key: HashMap<PeerKey, Arc<Peer>>,
    pub(crate) by_slot: HashMap<u32, Arc<Peer>>,
    pub(crate) by_address: RangeMap<Arc<Peer>>,
}

impl Table {
    /// Who a datagram for `receiver_index` is from, if from anybody.
    pub(crate) fn of_index(&self, receiver_index: u32) -> Option<&Arc<Peer>> {
        self.by_slot.get(&(receiver_index >> 8))
    }
}

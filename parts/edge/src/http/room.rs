use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many connections the edge may hold at once, counted over all its cores.
#[derive(Debug)]
pub(crate) struct Room {
    /// `None` counts nothing.
    most: Option<u32>,
    taken: AtomicU32,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Room>>);

impl Room {
    pub(crate) fn new(most: Option<u32>) -> Room {
        Room {
            most,
            taken: AtomicU32::new(0),
        }
    }

    /// A place for one more connection; `None` if there is none.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let Some(most) = self.most else {
            return Some(Place(None));
        };
        let more = |taken: u32| (taken < most).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Place(Some(Arc::clone(self))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(room) = &self.0 {
            room.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let room = Arc::new(Room::new(Some(2)));
        let (first, second) = (room.enter(), room.enter());
        assert!(first.is_some() && second.is_some() && room.enter().is_none());
        drop(first);
        assert!(room.enter().is_some());
        let endless = Arc::new(Room::new(None));
        assert!((0..100).all(|_| endless.enter().is_some()));
    }
}

use std::collections::{HashMap, VecDeque};

use mayfly_types::AppId;
use tokio::time::Instant;

use super::{APP_ENTRIES_MAX, ENTRIES_MAX, Key, Remembered};

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) remembered: Remembered,
    pub(super) allow_bypass: bool,
    pub(super) until: Instant,
}

/// A bounded map: the oldest entry of the app, or of all, makes room.
#[derive(Debug, Default)]
pub(super) struct Memory {
    apps: HashMap<AppId, OfApp>,
    count: usize,
}

#[derive(Debug, Default)]
struct OfApp {
    entries: HashMap<Key, (u64, Entry)>,
    /// Keys in the order they came, with the number of the entry they were put in for; one whose entry has another
    /// number is out of date.
    order: VecDeque<(u64, Key)>,
    next: u64,
}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&mut self, app: AppId, key: &Key, now: Instant) -> Option<&Entry> {
        let of_app = self.apps.get(&app)?;
        let (_, entry) = of_app.entries.get(key)?;
        (entry.until > now).then_some(entry)
    }

    pub(super) fn insert(&mut self, app: AppId, key: Key, entry: Entry, now: Instant) {
        if self.count >= ENTRIES_MAX {
            self.make_room(now);
        }
        let of_app = self.apps.entry(app).or_default();
        let before = of_app.entries.len();
        of_app.next += 1;
        of_app.order.push_back((of_app.next, key.clone()));
        of_app.entries.insert(key, (of_app.next, entry));
        while of_app.entries.len() > APP_ENTRIES_MAX {
            of_app.drop_oldest();
        }
        // What was replaced or removed leaves its place in the order behind.
        if of_app.order.len() > 2 * of_app.entries.len() + 16 {
            let entries = &of_app.entries;
            of_app
                .order
                .retain(|(number, key)| entries.get(key).is_some_and(|(own, _)| own == number));
        }
        self.count = self.count + of_app.entries.len() - before;
    }

    pub(super) fn remove(&mut self, app: AppId, key: &Key) {
        if let Some(of_app) = self.apps.get_mut(&app)
            && of_app.entries.remove(key).is_some()
        {
            self.count -= 1;
            if of_app.entries.is_empty() {
                self.apps.remove(&app);
            }
        }
    }

    /// Drops what is over; if that is nothing, half of what the app with the most has.
    fn make_room(&mut self, now: Instant) {
        for of_app in self.apps.values_mut() {
            of_app.entries.retain(|_, (_, entry)| entry.until > now);
        }
        self.apps.retain(|_, of_app| !of_app.entries.is_empty());
        self.recount();
        if self.count >= ENTRIES_MAX
            && let Some(largest) = self
                .apps
                .values_mut()
                .max_by_key(|of_app| of_app.entries.len())
        {
            let goal = largest.entries.len() / 2;
            while largest.entries.len() > goal {
                largest.drop_oldest();
            }
            self.recount();
        }
    }

    fn recount(&mut self) {
        self.count = self.apps.values().map(|of_app| of_app.entries.len()).sum();
    }
}

impl OfApp {
    fn drop_oldest(&mut self) {
        while let Some((number, key)) = self.order.pop_front() {
            if self
                .entries
                .get(&key)
                .is_some_and(|(own, _)| *own == number)
            {
                self.entries.remove(&key);
                return;
            }
        }
        // Every entry stands in the order; were one missing, forgetting all is still right.
        self.entries.clear();
    }
}

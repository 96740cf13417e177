use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Few enough that all their beginnings lie in the nearest cache, enough that a hundred thousand entries make short
/// shards.
const SHARDS: usize = 256;

/// A map whose copies share what they have in common: a change copies one shard.
///
/// A key is hashed once, for the shard and the place in it. Who asks does not choose what is in the map, so a fast hash
/// with a seed of its own does.
#[derive(Clone, Debug)]
pub(crate) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Arc<Vec<Shard<K, V>>>,
}

type Shard<K, V> = Arc<HashTable<(K, V)>>;

impl<K: Clone + Eq + Hash, V: Clone> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Sharded {
            hasher: RandomState::default(),
            shards: Arc::new(vec![empty; SHARDS]),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let found = self.shards[shard_of(hash)].find(hash, |(other, _)| other.borrow() == key);
        found.map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(&key);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard_of(hash)]);
        match shard.find_mut(hash, |(other, _)| *other == key) {
            Some(found) => found.1 = value,
            None => {
                shard.insert_unique(hash, (key, value), |(other, _)| hasher.hash_one(other));
            }
        }
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if self.get(key).is_none() {
            return;
        }
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard_of(hash)]);
        if let Ok(found) = shard.find_entry(hash, |(other, _)| other.borrow() == key) {
            found.remove();
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards
            .iter()
            .flat_map(|shard| shard.iter().map(|(_, value)| value))
    }
}

fn shard_of(hash: u64) -> usize {
    // The shards use the low and the highest bits; these are the ones between.
    (hash >> 40) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_keep_what_they_were() {
        let mut map: Sharded<Box<str>, u32> = Sharded::default();
        for number in 0..5000 {
            map.insert(number.to_string().into(), number);
        }
        let before = map.clone();
        map.insert("17".into(), 0);
        map.remove("18");
        map.remove("none");
        assert_eq!((before.get("17"), map.get("17")), (Some(&17), Some(&0)));
        assert_eq!((before.get("18"), map.get("18")), (Some(&18), None));
        assert_eq!(
            (before.values().count(), map.values().count()),
            (5000, 4999)
        );
        let shared = before.shards.iter().zip(map.shards.iter());
        assert!(
            shared
                .filter(|(one, other)| !Arc::ptr_eq(one, other))
                .count()
                <= 2
        );
    }
}

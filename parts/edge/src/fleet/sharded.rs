use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Few enough that copying the list of them is nothing, enough that a hundred thousand entries make short shards.
const SHARDS: usize = 1024;

/// A map whose copies share what they have in common: a change copies one shard.
#[derive(Clone, Debug)]
pub(crate) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Arc<Vec<Arc<HashMap<K, V, RandomState>>>>,
}

impl<K: Clone + Eq + Hash, V: Clone> Default for Sharded<K, V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Sharded {
            hasher,
            shards: Arc::new(vec![empty; SHARDS]),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard_of(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let shard = self.shard_of(&key);
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard]).insert(key, value);
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let shard = self.shard_of(key);
        if self.shards[shard].contains_key(key) {
            Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard]).remove(key);
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    fn shard_of<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The maps use the low and the highest bits; these are the ones between.
        (self.hasher.hash_one(key) >> 40) as usize % SHARDS
    }
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

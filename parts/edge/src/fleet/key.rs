use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Nearly all names of apps are shorter.
const SHORT_MAX: usize = 22;

/// A name as a key: a short one lies in the map itself, so that a lookup need not go to another place in memory to
/// compare it.
#[derive(Clone)]
pub(super) enum Key {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Box<[u8]>),
}

impl Key {
    pub(super) fn new(name: &str) -> Key {
        let name = name.as_bytes();
        match u8::try_from(name.len()) {
            Ok(length) if name.len() <= SHORT_MAX => {
                let mut bytes = [0; SHORT_MAX];
                bytes[..name.len()].copy_from_slice(name);
                Key::Short { length, bytes }
            }
            _ => Key::Long(name.into()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Key::Short { length, bytes } => &bytes[..usize::from(*length)],
            Key::Long(name) => name,
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sharded::Sharded;
    use super::*;

    #[test]
    fn names_of_any_length_are_found() {
        assert_eq!(
            size_of::<Key>(),
            24,
            "as much as a pointer and a length took, and a third"
        );
        let names: Vec<String> = (0..60).map(|length| "n".repeat(length)).collect();
        let mut map: Sharded<Key, usize> = Sharded::default();
        for name in &names {
            map.insert(Key::new(name), name.len());
        }
        for name in &names {
            assert_eq!(map.get(name.as_bytes()), Some(&name.len()));
            map.remove(name.as_bytes());
            assert_eq!(map.get(name.as_bytes()), None);
        }
    }
}

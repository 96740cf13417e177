use crate::LayerLimits;

/// The name of an entry, without anything that could lead out of the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath(Vec<u8>);

/// Why a name in an archive is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    #[error("a name must not contain `..`")]
    Climbs,
    #[error("a name must not contain NUL")]
    Nul,
    #[error("a name may have at most {0} bytes")]
    TooLong(usize),
    #[error("a part of a name may have at most 255 bytes")]
    PartTooLong,
    #[error("directories may lie at most {0} deep")]
    TooDeep(usize),
}

impl EntryPath {
    /// Cleans a name: `/a/./b/` is `a/b`. An absolute name is one from the top of the layer, as all unpackers take it.
    pub(super) fn parse(name: &[u8], limits: &LayerLimits) -> Result<EntryPath, InvalidPath> {
        if name.len() > limits.path_bytes {
            return Err(InvalidPath::TooLong(limits.path_bytes));
        }
        if name.contains(&0) {
            return Err(InvalidPath::Nul);
        }
        let mut clean = Vec::with_capacity(name.len());
        let mut depth = 0;
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(InvalidPath::Climbs),
                _ if part.len() > 255 => return Err(InvalidPath::PartTooLong),
                _ => {}
            }
            depth += 1;
            if depth > limits.depth {
                return Err(InvalidPath::TooDeep(limits.depth));
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(part);
        }
        Ok(EntryPath(clean))
    }

    /// The directory (empty for the top) and the name in it; `None` for the top of the layer itself.
    pub(super) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        let limits = LayerLimits {
            path_bytes: 600,
            depth: 5,
            ..LayerLimits::default()
        };
        let parse = |name: &[u8]| EntryPath::parse(name, &limits).map(|path| path.0);
        for (name, clean) in [
            (&b"a/b"[..], &b"a/b"[..]),
            (b"./a//b/./", b"a/b"),
            (b"/etc/passwd", b"etc/passwd"),
            (b"./", b""),
            (b"...", b"..."),
            (b"a/..b", b"a/..b"),
            (b"\xff\xfe", b"\xff\xfe"),
        ] {
            assert_eq!(parse(name).unwrap(), clean);
        }
        for (name, error) in [
            (&b".."[..], InvalidPath::Climbs),
            (b"a/../../b", InvalidPath::Climbs),
            (b"/..", InvalidPath::Climbs),
            (b"a\0b", InvalidPath::Nul),
            (&[b'a'; 256], InvalidPath::PartTooLong),
            (b"1/2/3/4/5/6", InvalidPath::TooDeep(5)),
            (&[b'/'; 601], InvalidPath::TooLong(600)),
        ] {
            assert_eq!(parse(name).unwrap_err(), error);
        }
    }
}

use std::fs;
use std::path::{Path, PathBuf};

use crate::LogError;
use crate::error::At;

/// A file of consecutive lines, named after the first one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn starting_at(dir: &Path, first: u64) -> Segment {
        Segment {
            first,
            path: dir.join(format!("{first:020}.jsonl")),
        }
    }

    /// All segments of a directory, oldest first. Files of other names are not ours.
    pub(crate) fn list(dir: &Path) -> Result<Vec<Segment>, LogError> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir).at("list log directory", dir)? {
            let entry = entry.at("list log directory", dir)?;
            if let Some(first) = entry.file_name().to_str().and_then(parse_name) {
                segments.push(Segment {
                    first,
                    path: entry.path(),
                });
            }
        }
        segments.sort();
        Ok(segments)
    }
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(parse_name("00000000000000000017.jsonl"), Some(17));
        for other in [
            "lock",
            "17.jsonl",
            "00000000000000000000.jsonl",
            "0000000000000000001x.jsonl",
            "99999999999999999999.jsonl",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}

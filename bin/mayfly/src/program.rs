//! The name this program was called by: `mayfly`, `fly` or `flyctl`.

use std::path::Path;

const NAMES: [&str; 3] = ["mayfly", "fly", "flyctl"];

/// The name to use in messages, so that a remedy can be typed as it stands. Unknown names count as `mayfly`.
pub(crate) fn name() -> &'static str {
    let called = std::env::args_os().next();
    called
        .as_deref()
        .and_then(|path| Path::new(path).file_name()?.to_str())
        .map_or(NAMES[0], known)
}

fn known(called: &str) -> &'static str {
    NAMES
        .into_iter()
        .find(|name| *name == called)
        .unwrap_or(NAMES[0])
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn other_names_count_as_mayfly() {
        for (called, name) in [
            ("fly", "fly"),
            ("flyctl", "flyctl"),
            ("mayfly", "mayfly"),
            ("mayfly-debug", "mayfly"),
        ] {
            assert_eq!(known(called), name);
        }
    }
}

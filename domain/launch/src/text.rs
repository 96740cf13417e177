//! Looking for words in sources without understanding their language.

/// Whether `text` has `word` as a whole word, in any case. Dashes belong to words.
pub(crate) fn mentions(text: &str, word: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let inside = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    text.match_indices(&word.to_ascii_lowercase())
        .any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let after = text[at + found.len()..].chars().next();
            !before.is_some_and(inside) && !after.is_some_and(inside)
        })
}

/// The first number of two to five digits behind one of `marks`.
pub(crate) fn port_after(text: &str, marks: &[&str]) -> Option<u16> {
    marks.iter().find_map(|mark| {
        text.match_indices(mark).find_map(|(at, found)| {
            let rest = text[at + found.len()..]
                .trim_start_matches([' ', '(', '"', '\'', ':', '=', '|', '?', '`']);
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok().filter(|port| *port >= 80)
        })
    })
}

/// The text between the first quotes behind `mark`.
pub(crate) fn quoted_after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let rest = &text[text.find(mark)? + mark.len()..];
    let line = rest.lines().next()?;
    let start = line.find(['"', '\''])?;
    let quote = line[start..].chars().next()?;
    let inner = &line[start + 1..];
    Some(&inner[..inner.find(quote)?])
}

/// All texts between quotes of one line.
pub(crate) fn quoted(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(['"', '\'']) {
        let inner = &rest[start + 1..];
        let Some(end) = inner.find(&rest[start..=start]) else {
            break;
        };
        found.push(&inner[..end]);
        rest = &inner[end + 1..];
    }
    found
}

/// `3.12` in `>=3.12,<4`: the first version with at least a major and a minor number.
pub(crate) fn version_in(text: &str) -> Option<String> {
    let start = text.find(|letter: char| letter.is_ascii_digit())?;
    let version: String = text[start..]
        .chars()
        .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
        .collect();
    let version = version.trim_matches('.');
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) if !major.is_empty() && !minor.is_empty() => {
            Some(format!("{major}.{minor}"))
        }
        _ => None,
    }
}

/// A command as the list a Dockerfile's CMD takes.
pub(crate) fn cmd(words: &[&str]) -> String {
    serde_json::Value::from(words.to_vec())
        .to_string()
        .replace("\",\"", "\", \"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ports_and_versions_are_found() {
        assert!(mentions("Django==5.0\n", "django"));
        assert!(mentions("psycopg[binary]>=3", "psycopg"));
        assert!(!mentions("django-filter==1", "django"));
        assert!(!mentions("mypg", "pg"));
        assert_eq!(port_after("app.listen(3001, f)", &["listen("]), Some(3001));
        assert_eq!(
            port_after("process.env.PORT || 4000", &["PORT"]),
            Some(4000)
        );
        assert_eq!(port_after("PORT = x", &["PORT"]), None);
        assert_eq!(version_in(">=3.11,<4").as_deref(), Some("3.11"));
        assert_eq!(version_in("python-3.12.4").as_deref(), Some("3.12"));
        assert_eq!(version_in("3"), None);
        assert_eq!(quoted_after("ruby \"3.3.1\"\n", "ruby "), Some("3.3.1"));
        assert_eq!(quoted(r#"join(B, "a", 'b"c')"#), ["a", "b\"c"]);
        assert_eq!(quoted("it's"), [""; 0]);
        assert_eq!(cmd(&["a", "b c"]), r#"["a", "b c"]"#);
    }
}

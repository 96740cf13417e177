//! Secrets as people write them: `NAME=VALUE`, one a line, with quotes and comments as env files have them.

use crate::failure::Failure;

/// One `NAME=VALUE`. Errors never show what follows the name.
pub(super) fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::new("a secret without a value")
            .remedy("Write secrets as NAME=VALUE, or NAME=- to read from stdin.")
    })?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// The lines of an env file: comments and empty lines are passed over, `export` is allowed, values may stand in single or
/// double quotes, and in `"""` over several lines.
///
/// # Errors
/// A line that is none of these, by its number.
pub(super) fn lines(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            return Err(wrong(index, "it is not NAME=VALUE"));
        };
        let value = value.trim();
        let value = match value.strip_prefix("\"\"\"") {
            None => unquoted(value),
            Some(first) => {
                block(first, &mut lines).ok_or_else(|| wrong(index, "\"\"\" is not closed"))?
            }
        };
        pairs.push((name.trim().to_owned(), value));
    }
    Ok(pairs)
}

/// What stands up to the closing `"""`; a line break right after the opening one does not count.
fn block<'a>(first: &'a str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    if let Some(value) = first.strip_suffix("\"\"\"") {
        return Some(value.to_owned());
    }
    let mut parts: Vec<&str> = Vec::new();
    if !first.is_empty() {
        parts.push(first);
    }
    for (_, line) in lines {
        if let Some(last) = line.trim_end().strip_suffix("\"\"\"") {
            if !last.is_empty() {
                parts.push(last);
            }
            return Some(parts.join("\n"));
        }
        parts.push(line);
    }
    None
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return match quote {
                '"' => inner.replace("\\n", "\n").replace("\\\"", "\""),
                _ => inner.to_owned(),
            };
        }
    }
    value.to_owned()
}

fn wrong(index: usize, why: &str) -> anyhow::Error {
    Failure::new(format!("line {} of the secrets: {why}", index + 1))
        .remedy("Nothing was set.")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_people_write_them() {
        let text = "# comment\n\nA=1\nexport B=\"x y\"\nC='$raw'\nD=a=b=\nE=\"\"\"\none\ntwo\n\"\"\"\nF=\"\"\"in line\"\"\"\nG=\n";
        let expected = [
            ("A", "1"),
            ("B", "x y"),
            ("C", "$raw"),
            ("D", "a=b="),
            ("E", "one\ntwo"),
            ("F", "in line"),
            ("G", ""),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(lines(text).unwrap(), expected);
    }

    #[test]
    fn wrong_lines_are_named_by_number_and_not_shown() {
        for text in ["A=1\nhunter2", "A=\"\"\"hunter2\nmore"] {
            let error = lines(text).unwrap_err().to_string();
            assert!(
                error.contains("line") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(!pair("hunter2").unwrap_err().to_string().contains("hunter2"));
    }
}

//! Secrets as people write them: `NAME=VALUE`, one a line, with quotes and comments as env files have them.

use crate::failure::Failure;

/// One of the lines of an env file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) value: String,
    /// A comment stood behind an unquoted value, where some readers take it for a part of the value.
    pub(super) lost_comment: bool,
}

/// One `NAME=VALUE`. Errors never show what follows the name.
pub(super) fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::new("a secret without a value")
            .remedy("Write secrets as NAME=VALUE, or NAME=- to read from stdin.")
    })?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// The lines of an env file: comments and empty lines are passed over, `export` is allowed. Values may stand in single
/// quotes, which take everything as it is, or in double quotes, in which `\n`, `\r`, `\t`, `\"`, `\$` and `\\` have their
/// meaning; both may go over several lines, and so does what stands between `"""`. Behind a value, ` #` begins a comment.
///
/// # Errors
/// A line that is none of these, by its number.
pub(super) fn lines(text: &str) -> anyhow::Result<Vec<Line>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
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
        let (name, value) = (name.trim().to_owned(), value.trim());
        let mut lost_comment = false;
        let value = if let Some(first) = value.strip_prefix("\"\"\"") {
            block(first, &mut lines).ok_or_else(|| wrong(index, "\"\"\" is not closed"))?
        } else if let Some(quote) = Quote::of(value) {
            quote
                .value(&value[1..], &mut lines)
                .ok_or_else(|| wrong(index, "a quote is not closed, or something follows it"))?
        } else {
            let bare = without_comment(value);
            lost_comment = bare.len() < value.len();
            bare.to_owned()
        };
        found.push(Line {
            name,
            value,
            lost_comment,
        });
    }
    Ok(found)
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
        match line.trim_end().strip_suffix("\"\"\"") {
            Some(last) => {
                parts.push(last);
                return Some(parts.join("\n"));
            }
            None => parts.push(line),
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    Single,
    Double,
}

impl Quote {
    fn of(value: &str) -> Option<Self> {
        match value.as_bytes().first()? {
            b'\'' => Some(Quote::Single),
            b'"' => Some(Quote::Double),
            _ => None,
        }
    }

    /// The value behind the opening quote, which may go on in the `lines` that follow.
    fn value<'a>(
        self,
        first: &'a str,
        lines: &mut impl Iterator<Item = (usize, &'a str)>,
    ) -> Option<String> {
        let mut value = match self.part(first) {
            Part::Closed { value, rest } if is_blank(rest) => return Some(value),
            // Quotes inside quotes, as in `"{"a": 1}"`: the outermost count.
            Part::Closed { .. } => {
                let inner = first.strip_suffix(self.sign())?;
                return Some(inner.to_owned());
            }
            Part::Open(value) => value,
        };
        for (_, line) in lines {
            value.push('\n');
            match self.part(line) {
                Part::Closed { value: last, rest } => {
                    value.push_str(&last);
                    return is_blank(rest).then_some(value);
                }
                Part::Open(part) => value.push_str(&part),
            }
        }
        None
    }

    fn sign(self) -> char {
        match self {
            Quote::Single => '\'',
            Quote::Double => '"',
        }
    }

    /// A line up to the closing quote, if that stands in it.
    fn part(self, line: &str) -> Part<'_> {
        let mut value = String::new();
        let mut rest = line.chars();
        while let Some(character) = rest.next() {
            if character == self.sign() {
                let rest = rest.as_str();
                return Part::Closed { value, rest };
            }
            if character != '\\' || self == Quote::Single {
                value.push(character);
                continue;
            }
            match rest.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(escaped @ ('"' | '\\' | '$')) => value.push(escaped),
                // Whatever else stands behind it, a backslash is one.
                other => {
                    value.push('\\');
                    value.extend(other);
                }
            }
        }
        Part::Open(value)
    }
}

enum Part<'a> {
    Closed { value: String, rest: &'a str },
    Open(String),
}

/// Nothing, or a comment.
fn is_blank(rest: &str) -> bool {
    let behind = rest.trim_start();
    behind.is_empty() || (behind.starts_with('#') && behind.len() < rest.len())
}

/// An unquoted value up to a comment.
fn without_comment(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let begins = |(at, _): &(usize, &str)| value[..*at].ends_with(char::is_whitespace);
    match value.match_indices('#').find(begins) {
        Some((at, _)) => value[..at].trim_end(),
        None => value,
    }
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
        for (text, value) in [
            ("A=1", "1"),
            ("A=1\r", "1"),
            ("  A = 1  ", "1"),
            ("\u{feff}# comment\n\nexport A=1", "1"),
            ("A=", ""),
            ("A=a=b=", "a=b="),
            ("A=x y", "x y"),
            ("A=BAR,BAZ", "BAR,BAZ"),
            // Comments.
            ("A=1 # one", "1"),
            ("A=1\t#one", "1"),
            ("A=# none", ""),
            ("A=a#b", "a#b"),
            ("A=\"a # b\" # c", "a # b"),
            ("A='a # b' # c", "a # b"),
            // Quotes.
            ("A=\"x y\"", "x y"),
            ("A='$raw \\n \"'", "$raw \\n \""),
            (
                "A=\"a\\nb\\t\\\"c\\\" \\\\n \\$d \\e\"",
                "a\nb\t\"c\" \\n $d \\e",
            ),
            ("A={\"a\": \"b\"}", "{\"a\": \"b\"}"),
            ("A=\"{\"a\": \"b\"}\"", "{\"a\": \"b\"}"),
            ("A=it's", "it's"),
            // Several lines.
            ("A=\"one\n  two\n\nthree\"\nB=2", "one\n  two\n\nthree"),
            ("A='one\ntwo' # end\nB=2", "one\ntwo"),
            ("A=\"\"\"\none\ntwo\"\"\"", "one\ntwo"),
            ("A=\"\"\"one\ntwo\n\"\"\"", "one\ntwo\n"),
            ("A=\"\"\"in line\"\"\"", "in line"),
        ] {
            let found = lines(text).unwrap();
            assert_eq!(found[0].name, "A", "{text}");
            assert_eq!(found[0].value, value, "{text}");
            assert_eq!(
                found.len(),
                if text.contains("B=2") { 2 } else { 1 },
                "{text}"
            );
        }
    }

    #[test]
    fn a_comment_that_might_have_been_meant_is_noticed() {
        let lost = |text| lines(text).unwrap()[0].lost_comment;
        assert!(lost("A=pass #word"));
        assert!(!lost("A=\"pass #word\" # quoted") && !lost("A=pass#word"));
    }

    #[test]
    fn wrong_lines_are_named_by_number_and_not_shown() {
        for (text, number) in [
            ("A=1\nhunter2", 2),
            ("A=\"\"\"hunter2\nmore", 1),
            ("A=1\nB=\"hunter2\nmore", 2),
            ("A='hunter2' hunter3", 1),
        ] {
            let error = lines(text).unwrap_err().to_string();
            assert!(
                error.contains(&format!("line {number} ")) && !error.contains("hunter"),
                "{error}"
            );
        }
        assert!(!pair("hunter2").unwrap_err().to_string().contains("hunter2"));
    }
}

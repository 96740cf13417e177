use std::ops::Range;

use crate::node::{Entry, Node, Value};
use crate::problem::Problem;
use crate::source::Source;

/// Levels of lists and tables, as many as the checking parser takes.
const DEPTH_MAX: usize = 100;

/// Reads JSON with positions. Another parser checks the syntax first and words what is wrong with it.
pub(super) fn parse(text: &str, source: &Source) -> Result<Node, Problem> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let mut problem = Problem::error("", format!("is not JSON: {error}"));
        (problem.line, problem.column) = (error.line(), error.column().max(1));
        return Err(problem);
    }
    let mut reader = Reader { text, at: 0 };
    reader.node(0).ok_or_else(|| {
        let mut problem = Problem::error("", "is JSON nested too deeply");
        (problem.line, problem.column) = source.position(reader.at);
        problem
    })
}

/// Walks text that is known to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn taken(&mut self, mark: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(mark);
        self.at += usize::from(found);
        found
    }

    fn node(&mut self, depth: usize) -> Option<Node> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_blanks();
        let start = self.at;
        let value = if self.taken('{') {
            let mut entries: Vec<Entry> = Vec::new();
            while !self.taken('}') {
                let (key, key_span) = self.string()?;
                self.taken(':');
                let node = self.node(depth + 1)?;
                // As everywhere in JSON, the last of equal keys counts.
                entries.retain(|entry| entry.key != key);
                entries.push(Entry {
                    key,
                    key_span,
                    node,
                });
                self.taken(',');
            }
            Value::Table(entries)
        } else if self.taken('[') {
            let mut items = Vec::new();
            while !self.taken(']') {
                items.push(self.node(depth + 1)?);
                self.taken(',');
            }
            Value::List(items)
        } else if self.rest().starts_with('"') {
            Value::Text(self.string()?.0)
        } else {
            self.word()?
        };
        Some(Node {
            span: start..self.at,
            value,
        })
    }

    fn string(&mut self) -> Option<(String, Range<usize>)> {
        self.skip_blanks();
        let start = self.at;
        let mut escaped = false;
        let closing = self.rest().char_indices().skip(1).find(|(_, letter)| {
            let closes = *letter == '"' && !escaped;
            escaped = *letter == '\\' && !escaped;
            closes
        });
        let (end, _) = closing?;
        self.at += end + 1;
        let text = serde_json::from_str(&self.text[start..self.at]).ok()?;
        Some((text, start..self.at))
    }

    fn word(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest
            .find(|letter: char| matches!(letter, ',' | '}' | ']') || letter.is_whitespace())
            .unwrap_or(rest.len());
        let word: serde_json::Value = serde_json::from_str(&rest[..end]).ok()?;
        self.at += end;
        Some(match &word {
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Value::Integer(number),
                None => Value::Float(number.as_f64()?),
            },
            _ => Value::Null,
        })
    }
}

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::node::{Entry, Node, Value};
use crate::problem::Problem;

/// Values a document may hold once its aliases are written out; more is an attack, not a configuration.
const NODES_MAX: usize = 100_000;
/// Levels of lists and tables.
const DEPTH_MAX: usize = 100;

/// Reads the first document of a YAML text, aliases and merge keys written out.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    // The parser counts characters, positions here count bytes.
    let offsets: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let mut builder = Builder {
        offsets,
        anchors: BTreeMap::new(),
        open: Vec::new(),
        done: None,
        nodes: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| at(error.marker(), error.info()))?;
        builder.take(event, span)?;
        if builder.done.is_some() {
            break;
        }
    }
    Ok(builder.done.unwrap_or_else(super::empty))
}

fn at(marker: &Marker, text: &str) -> Problem {
    let mut problem = Problem::error("", format!("is not YAML: {text}"));
    (problem.line, problem.column) = (marker.line(), marker.col() + 1);
    problem
}

struct Builder {
    offsets: Vec<usize>,
    anchors: BTreeMap<usize, Node>,
    open: Vec<Open>,
    done: Option<Node>,
    nodes: usize,
}

/// A list or table that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    items: Vec<Node>,
    is_table: bool,
}

impl Builder {
    fn offset(&self, marker: &Marker) -> usize {
        let last = self.offsets.len() - 1;
        self.offsets[marker.index().min(last)]
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let start = self.offset(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.suffix == "str");
                let value = if style == ScalarStyle::Plain && !is_text {
                    plain(&text)
                } else {
                    Value::Text(text.into_owned())
                };
                let end = self.offset(&span.end);
                let node = Node {
                    span: start..end,
                    value,
                };
                self.close(anchor, node, &span)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if self.open.len() >= DEPTH_MAX {
                    return Err(at(&span.start, "it is nested too deeply"));
                }
                self.open.push(Open {
                    start,
                    anchor,
                    items: Vec::new(),
                    is_table: matches!(event, Event::MappingStart(..)),
                });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(());
                };
                let value = if open.is_table {
                    Value::Table(entries(open.items, &span)?)
                } else {
                    Value::List(open.items)
                };
                let node = Node {
                    span: open.start..start,
                    value,
                };
                self.close(open.anchor, node, &span)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut node) => {
                    self.nodes += count(&node);
                    node.span = start..self.offset(&span.end);
                    self.close(0, node, &span)
                }
                None => Err(at(&span.start, "an alias stands inside of what it names")),
            },
            _ => Ok(()),
        }
    }

    /// Puts a complete value where it belongs.
    fn close(&mut self, anchor: usize, node: Node, span: &Span) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(at(&span.start, "its aliases stand for too many values"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.done = Some(node),
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Table(entries) => {
            1 + entries
                .iter()
                .map(|entry| 1 + count(&entry.node))
                .sum::<usize>()
        }
        _ => 1,
    }
}

/// Keys and values in turn, as a mapping's events come; `<<` adds the keys of another table that are not there.
fn entries(items: Vec<Node>, span: &Span) -> Result<Vec<Entry>, Problem> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut merged: Vec<Entry> = Vec::new();
    let mut items = items.into_iter();
    while let (Some(key), Some(node)) = (items.next(), items.next()) {
        let name = match &key.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null => "null".to_owned(),
            _ => return Err(at(&span.start, "the key of a mapping must be a word")),
        };
        if name == "<<" {
            let tables = match node.value {
                Value::List(tables) => tables,
                value => vec![Node {
                    span: node.span,
                    value,
                }],
            };
            for table in tables {
                if let Value::Table(inner) = table.value {
                    merged.extend(inner);
                }
            }
            continue;
        }
        if entries.iter().any(|entry| entry.key == name) {
            return Err(at(&span.start, &format!("the key `{name}` stands twice")));
        }
        entries.push(Entry {
            key: name,
            key_span: key.span,
            node,
        });
    }
    for entry in merged {
        if entries.iter().all(|known| known.key != entry.key) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// An unquoted word by the core schema: <https://yaml.org/spec/1.2.2/#103-core-schema>.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let integer = match text.get(..2) {
        Some("0x") => i64::from_str_radix(&text[2..], 16).ok(),
        Some("0o") => i64::from_str_radix(&text[2..], 8).ok(),
        _ => text.parse().ok(),
    };
    if let Some(number) = integer {
        return Value::Integer(number);
    }
    let digits = text.trim_start_matches(['+', '-']);
    let numeric = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Value::Float(number),
        _ => Value::Text(text.to_owned()),
    }
}

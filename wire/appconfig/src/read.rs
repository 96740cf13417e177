//! From a file's values to the normal form of the configuration, every mistake on the way noted with its place.

use mayfly_wire::{GoDuration, shell_split};
use serde_json::{Map, Value as Json};

use crate::node::{Entry, Node, Value};
use crate::problem::{Problem, listed, perhaps};
use crate::schema::{Bare, Key, Kind, Section, Unit};
use crate::size;
use crate::source::Source;

/// Reads values by the schema.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a mut Source,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// A table in its normal form: known keys by their names of today, without those that could not be read.
    pub(crate) fn section(&mut self, node: &Node, section: &Section, path: &str) -> Option<Json> {
        let Some(entries) = node.table() else {
            return self.refuse(node, path, "must be a table");
        };
        let mut read = Map::new();
        for entry in entries {
            let at = joined(path, &entry.key);
            self.source.note(&at, &entry.key_span);
            // In YAML and JSON a key may stand without a value; that is as if it were not there.
            if entry.node.value == Value::Null {
                continue;
            }
            match section.key(&entry.key) {
                Some(key) => self.known(entry, key, &at, path, &mut read),
                None => self.unknown(entry, section, &at),
            }
        }
        Some(Json::Object(read))
    }

    fn known(
        &mut self,
        entry: &Entry,
        key: &Key,
        at: &str,
        path: &str,
        read: &mut Map<String, Json>,
    ) {
        let name = joined(path, key.name);
        self.source.note(&name, &entry.key_span);
        let Some(value) = self.value(&entry.node, key.kind, &name) else {
            return;
        };
        match (read.get_mut(key.name), value) {
            // `[mount]` beside `[[mounts]]`: both count.
            (Some(Json::Array(known)), Json::Array(more)) => known.extend(more),
            (Some(_), _) => self.problems.push(Problem::error(
                at,
                format!("and {} are two names of one key", key.name),
            )),
            (None, value) => {
                read.insert(key.name.to_owned(), value);
            }
        }
    }

    fn unknown(&mut self, entry: &Entry, section: &Section, at: &str) {
        let retired = section.retired.iter().find(|(name, _)| *name == entry.key);
        let what = match &entry.node.value {
            Value::Table(_) | Value::List(_) => "section",
            _ => "key",
        };
        let problem = match retired {
            Some((_, why)) => Problem::warning(at, *why).remedy("Take it out."),
            None => Problem::warning(
                at,
                format!(
                    "is an unknown {what} and ignored{}",
                    perhaps(&entry.key, section.names())
                ),
            )
            .rule(UNKNOWN),
        };
        self.problems.push(problem);
    }

    /// A value in its normal form; `None` when it was refused.
    fn value(&mut self, node: &Node, kind: Kind, path: &str) -> Option<Json> {
        self.source.note(path, &node.span);
        match kind {
            Kind::Text | Kind::AppName | Kind::Preset => self.text(node, path).map(Json::from),
            Kind::Choice(allowed) => self.choice(node, allowed, path).map(Json::from),
            Kind::Bool => match node.value {
                Value::Bool(value) => Some(Json::from(value)),
                _ => self.refuse(node, path, "must be true or false"),
            },
            Kind::Integer(least, most) => self.integer(node, least, most, path),
            Kind::Number(least, most) => {
                let number = match node.value {
                    Value::Integer(number) => Some(number as f64),
                    Value::Float(number) => Some(number),
                    _ => None,
                };
                match number.filter(|number| (least..=most).contains(number)) {
                    Some(number) => Some(Json::from(number)),
                    None => self.refuse(
                        node,
                        path,
                        &format!("must be a number from {least} to {most}"),
                    ),
                }
            }
            Kind::Duration(bare) => self.duration(node, bare, path),
            Kind::Size(unit) => self.size(node, unit, path),
            Kind::Words => self.words(node, path, |reader, item, at| reader.text(item, at)),
            Kind::Choices(allowed) => self.words(node, path, |reader, item, at| {
                reader.choice(item, allowed, at)
            }),
            Kind::Command => self.command(node, path),
            Kind::Map(inner) => self.named(node, path, |reader, node, at| {
                reader.value(node, *inner, at)
            }),
            Kind::Named(section) => self.named(node, path, |reader, node, at| {
                reader.section(node, section, at)
            }),
            Kind::Table(section) => self.section(node, section, path),
            Kind::List(section) => self.list(node, section, path),
            Kind::Headers => self.headers(node, path),
            Kind::AutoStop => self.auto_stop(node, path),
            Kind::Concurrency(section) => match (node.text(), &node.value) {
                (Some(text), _) => self.concurrency(node, text, path),
                // As a list of one, which the public documentation has here and there.
                (None, Value::List(items)) if items.len() == 1 => {
                    self.section(&items[0], section, path)
                }
                (None, _) => self.section(node, section, path),
            },
            Kind::Any => Some(any(node)),
        }
    }

    fn refuse<T>(&mut self, node: &Node, path: &str, rule: &str) -> Option<T> {
        self.source.note(path, &node.span);
        self.problems.push(Problem::error(
            path,
            format!("{rule}; got {}", node.shown()),
        ));
        None
    }

    /// A text; numbers and booleans are taken as they are written.
    fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Table(_) => {
                self.refuse(node, path, "must be a text")
            }
        }
    }

    fn choice(&mut self, node: &Node, allowed: &[&str], path: &str) -> Option<String> {
        let text = self.text(node, path)?;
        // An empty text is what generated files write for "not set".
        if text.is_empty() {
            return None;
        }
        if let Some(word) = allowed.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
            return Some((*word).to_owned());
        }
        let meant = perhaps(&text, allowed.iter().copied());
        self.problems.push(Problem::error(
            path,
            format!("must be one of {}; got \"{text}\"{meant}", listed(allowed)),
        ));
        None
    }

    fn integer(&mut self, node: &Node, least: i64, most: i64, path: &str) -> Option<Json> {
        let number = match &node.value {
            Value::Integer(number) => Some(*number),
            Value::Float(number) if number.fract() == 0.0 => Some(*number as i64),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(Json::from(number)),
            None => self.refuse(
                node,
                path,
                &format!("must be a whole number from {least} to {most}"),
            ),
        }
    }

    fn duration(&mut self, node: &Node, bare: Bare, path: &str) -> Option<Json> {
        let (unit, name) = match bare {
            Bare::Seconds => ("s", "seconds"),
            Bare::Milliseconds => ("ms", "milliseconds"),
        };
        let text = match &node.value {
            Value::Integer(number) => Some(format!("{number}{unit}")),
            Value::Float(number) => Some(format!("{number}{unit}")),
            Value::Text(text) if text.trim().parse::<f64>().is_ok() => {
                Some(format!("{}{unit}", text.trim()))
            }
            Value::Text(text) => Some(text.trim().to_owned()),
            _ => None,
        };
        match text.and_then(|text| text.parse::<GoDuration>().ok()) {
            Some(span) => Some(Json::from(span.to_string())),
            None => self.refuse(
                node,
                path,
                &format!("must be a duration such as \"15s\" or \"1m30s\", or a number of {name}"),
            ),
        }
    }

    fn size(&mut self, node: &Node, unit: Unit, path: &str) -> Option<Json> {
        let (bare, example) = match unit {
            Unit::Megabytes => (1, "\"1gb\", \"512mb\" or a number of MB"),
            Unit::Gigabytes { .. } => (1024, "\"10gb\" or a number of GB"),
        };
        let text = match &node.value {
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            _ => String::new(),
        };
        let Some(mib) = size::mib(&text, bare) else {
            return self.refuse(node, path, &format!("must be a size such as {example}"));
        };
        if let Unit::Gigabytes { least, most } = unit
            && (mib % 1024 != 0 || !(least..=most).contains(&(mib / 1024)))
        {
            return self.refuse(
                node,
                path,
                &format!("must be a whole number of GB from {least} to {most}"),
            );
        }
        Some(Json::from(size::shown(mib)))
    }

    fn words(
        &mut self,
        node: &Node,
        path: &str,
        mut word: impl FnMut(&mut Self, &Node, &str) -> Option<String>,
    ) -> Option<Json> {
        match &node.value {
            Value::List(items) => {
                let mut words = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{path}[{index}]");
                    self.source.note(&at, &item.span);
                    words.extend(word(self, item, &at).map(Json::from));
                }
                Some(Json::Array(words))
            }
            Value::Table(_) => self.refuse(node, path, "must be a list of texts"),
            _ => {
                let single = word(self, node, path)?;
                Some(Json::from(vec![single]))
            }
        }
    }

    fn command(&mut self, node: &Node, path: &str) -> Option<Json> {
        let Some(line) = node.text() else {
            return self.words(node, path, |reader, item, at| reader.text(item, at));
        };
        match shell_split(line) {
            Ok(words) => Some(Json::from(words)),
            Err(error) => self.refuse(node, path, &format!("must be a command, but {error}")),
        }
    }

    /// A table of free names, or one with a value of each that could be read.
    fn named(
        &mut self,
        node: &Node,
        path: &str,
        mut value: impl FnMut(&mut Self, &Node, &str) -> Option<Json>,
    ) -> Option<Json> {
        let Some(entries) = node.table() else {
            return self.refuse(node, path, "must be a table");
        };
        let mut read = Map::new();
        for entry in entries {
            let at = joined(path, &entry.key);
            self.source.note(&at, &entry.key_span);
            if entry.node.value == Value::Null {
                // A variable without a value in YAML is an empty one.
                read.insert(entry.key.clone(), Json::from(""));
                continue;
            }
            if let Some(value) = value(self, &entry.node, &at) {
                read.insert(entry.key.clone(), value);
            }
        }
        Some(Json::Object(read))
    }

    fn list(&mut self, node: &Node, section: &Section, path: &str) -> Option<Json> {
        match &node.value {
            Value::Table(_) => {
                let table = self.section(node, section, &format!("{path}[0]"))?;
                Some(Json::Array(vec![table]))
            }
            Value::List(items) => {
                let mut read = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{path}[{index}]");
                    self.source.note(&at, &item.span);
                    read.extend(self.section(item, section, &at));
                }
                Some(Json::Array(read))
            }
            _ => self.refuse(node, path, "must be a table or a list of tables"),
        }
    }

    fn headers(&mut self, node: &Node, path: &str) -> Option<Json> {
        let Value::List(items) = &node.value else {
            return self.named(node, path, |reader, node, at| {
                reader.text(node, at).map(Json::from)
            });
        };
        let mut read = Map::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            let name = item.get("name").and_then(Node::text);
            let value = match item.get("value").map(|node| &node.value) {
                Some(Value::List(values)) => {
                    let values: Vec<&str> = values.iter().filter_map(Node::text).collect();
                    Some(values.join(", "))
                }
                Some(Value::Text(text)) => Some(text.clone()),
                Some(Value::Integer(number)) => Some(number.to_string()),
                _ => None,
            };
            match (name, value) {
                (Some(name), Some(value)) => {
                    read.insert(name.to_owned(), Json::from(value));
                }
                _ => return self.refuse(item, &at, "must have a name and a value"),
            }
        }
        Some(Json::Object(read))
    }

    fn auto_stop(&mut self, node: &Node, path: &str) -> Option<Json> {
        match &node.value {
            Value::Bool(true) => Some(Json::from("stop")),
            Value::Bool(false) => Some(Json::from("off")),
            Value::Text(_) => {
                // YAML 1.1 minds and generated files write "true" as a text.
                const WORDS: [&str; 5] = ["off", "stop", "suspend", "true", "false"];
                let word = self.choice(node, &WORDS, path)?;
                Some(Json::from(match word.as_str() {
                    "true" => "stop",
                    "false" => "off",
                    word => word,
                }))
            }
            _ => self.refuse(
                node,
                path,
                "must be one of \"off\", \"stop\", \"suspend\", true, false",
            ),
        }
    }

    fn concurrency(&mut self, node: &Node, text: &str, path: &str) -> Option<Json> {
        let limits: Option<Vec<i64>> = text
            .split(',')
            .map(|limit| limit.trim().parse().ok())
            .collect();
        let (soft, hard) = match limits.as_deref() {
            Some([both]) => (*both, *both),
            Some([soft, hard]) => (*soft, *hard),
            _ => {
                return self.refuse(
                    node,
                    path,
                    "must be a table of type, soft_limit and hard_limit, or \"soft,hard\"",
                );
            }
        };
        Some(serde_json::json!({ "type": "requests", "soft_limit": soft, "hard_limit": hard }))
    }
}

/// The rule that `--strict` turns from a warning into an error.
pub(crate) const UNKNOWN: &str = "unknown-key";

fn joined(path: &str, key: &str) -> String {
    let key: String = key.chars().take(80).collect();
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

fn any(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(items) => items.iter().map(any).collect(),
        Value::Table(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), any(&entry.node)))
            .collect(),
    }
}

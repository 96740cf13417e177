use std::fmt;

use serde::de;

use crate::suggest::closest;

/// A body that cannot be what its endpoint takes; the text names the field by its path, such as
/// `config.services[0].ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBody {
    /// Innermost first.
    path: Vec<Step>,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Syntax(String),
    UnknownField {
        name: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    WrongType {
        found: String,
        wanted: String,
    },
    Other(String),
}

impl InvalidBody {
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        Self::of(Problem::Syntax(error.to_string()))
    }

    fn of(problem: Problem) -> Self {
        Self {
            path: Vec::new(),
            problem,
        }
    }

    pub(super) fn in_field(mut self, name: &str) -> Self {
        self.path.push(Step::Field(shortened(name)));
        self
    }

    pub(super) fn at_index(mut self, index: usize) -> Self {
        self.path.push(Step::Index(index));
        self
    }

    /// The same error seen from further out: `config` for a configuration read alone.
    pub fn inside(self, name: &str) -> Self {
        self.in_field(name)
    }

    /// The path of the field at fault; empty for the body as a whole.
    pub fn path(&self) -> String {
        let inner = match &self.problem {
            Problem::UnknownField { name, .. } => Some(name.as_str()),
            Problem::Missing(name) => Some(*name),
            _ => None,
        };
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) => push_field(&mut path, name),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if let Some(name) = inner {
            push_field(&mut path, name);
        }
        path
    }
}

fn push_field(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Text from outside, cut to what an error may repeat.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for InvalidBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        let place = if path.is_empty() {
            "the body".to_owned()
        } else {
            format!("field \"{path}\"")
        };
        match &self.problem {
            Problem::Syntax(text) => write!(f, "the body is not JSON: {text}"),
            Problem::UnknownField { name, known } => {
                write!(f, "unknown field \"{path}\"; ")?;
                match closest(name, known.iter().copied()) {
                    Some(meant) => write!(f, "did you mean \"{meant}\"?"),
                    None if known.is_empty() => f.write_str("no field is known there"),
                    None => write!(f, "known there: {}", known.join(", ")),
                }
            }
            Problem::Missing(_) => write!(f, "{place} is required"),
            Problem::WrongType { found, wanted } => {
                write!(f, "{place} must be {wanted}, got {found}")
            }
            Problem::Other(text) => write!(f, "{place}: {text}"),
        }
    }
}

impl std::error::Error for InvalidBody {}

/// What serde calls a type, in the words of JSON.
fn wanted(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "i8" | "i16" | "i32" | "i64" => "an integer".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a non-negative integer".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        _ if text.starts_with("struct ") => "an object".to_owned(),
        _ => text,
    }
}

fn found(unexpected: &de::Unexpected<'_>) -> String {
    match unexpected {
        de::Unexpected::Unit => "null".to_owned(),
        de::Unexpected::Bool(value) => format!("the boolean {value}"),
        de::Unexpected::Unsigned(value) => format!("the integer {value}"),
        de::Unexpected::Signed(value) => format!("the integer {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        de::Unexpected::Str(text) => format!("the string {:?}", shortened(text)),
        de::Unexpected::Seq => "an array".to_owned(),
        de::Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

impl de::Error for InvalidBody {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::of(Problem::Other(text.to_string()))
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::of(Problem::WrongType {
            found: found(&unexpected),
            wanted: wanted(expected),
        })
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::of(Problem::UnknownField {
            name: shortened(name),
            known,
        })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of(Problem::Missing(name))
    }
}

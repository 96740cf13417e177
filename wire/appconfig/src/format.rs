mod json;
mod toml;
mod yaml;

use crate::node::{Node, Value};
use crate::problem::Problem;
use crate::source::Source;

/// The language a configuration is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Toml,
    Json,
    Yaml,
}

impl Format {
    /// The names a configuration is looked for by, first come first served.
    pub const FILES: [&str; 4] = ["fly.toml", "fly.json", "fly.yaml", "fly.yml"];

    /// The format by a file's name; anything but JSON and YAML is TOML.
    pub fn of(file: &str) -> Self {
        match file.rsplit_once('.').map(|(_, extension)| extension) {
            Some("json") => Format::Json,
            Some("yaml" | "yml") => Format::Yaml,
            _ => Format::Toml,
        }
    }

    /// The name a new configuration of this format gets.
    pub const fn file(self) -> &'static str {
        match self {
            Format::Toml => "fly.toml",
            Format::Json => "fly.json",
            Format::Yaml => "fly.yaml",
        }
    }
}

/// Parses the text as far as it can be; what cannot is among the problems.
pub(crate) fn parse(text: &str, format: Format, source: &Source) -> (Node, Vec<Problem>) {
    // A file of only blanks is an empty configuration in every format.
    if text.trim().is_empty() {
        return (empty(), Vec::new());
    }
    match format {
        Format::Toml => toml::parse(text, source),
        Format::Json => one_error(json::parse(text, source)),
        Format::Yaml => one_error(yaml::parse(text)),
    }
}

fn one_error(parsed: Result<Node, Problem>) -> (Node, Vec<Problem>) {
    match parsed {
        Ok(node) => (node, Vec::new()),
        Err(problem) => (empty(), vec![problem]),
    }
}

fn empty() -> Node {
    Node {
        span: 0..0,
        value: Value::Table(Vec::new()),
    }
}

//! From the normal form to text.

mod toml;
mod yaml;

use serde_json::Value as Json;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::Format;
use crate::config::AppConfig;

pub(crate) use toml::item;

impl AppConfig {
    /// The configuration as JSON, in its normal form: what a release keeps.
    pub fn to_value(&self) -> Json {
        let value = serde_json::to_value(self).expect("texts, numbers and lists of them are JSON");
        tidy(value)
    }

    /// The configuration as a file of this format.
    pub fn to_text(&self, format: Format) -> String {
        let value = self.to_value();
        match format {
            Format::Toml => toml::write(&value),
            Format::Json => json(&value),
            Format::Yaml => yaml::write(&value),
        }
    }
}

fn json(value: &Json) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"  ");
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("a value is JSON");
    let mut text = String::from_utf8(bytes).expect("JSON is UTF-8");
    text.push('\n');
    text
}

/// Sections that say something by being there, whatever is in them.
const MEANINGFUL: [&str; 2] = ["compose", "http_service"];

/// Leaves out what says nothing (lists and tables without content), and writes whole numbers as such.
pub(crate) fn tidy(value: Json) -> Json {
    match value {
        Json::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, tidy(value)))
            .filter(|(key, value)| match value {
                Json::Null => false,
                Json::Object(fields) => !fields.is_empty() || MEANINGFUL.contains(&key.as_str()),
                Json::Array(items) => !items.is_empty(),
                _ => true,
            })
            .collect(),
        Json::Array(items) => items.into_iter().map(tidy).collect(),
        Json::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => Json::from(float as i64),
            _ => Json::Number(number),
        },
        other => other,
    }
}

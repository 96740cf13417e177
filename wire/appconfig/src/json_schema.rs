//! The JSON schema that editors complete and check with, made from the same table that reading uses.

use mayfly_machine::GuestSize;
use serde_json::{Map, Value as Json, json};

use crate::schema::{Bare, Key, Kind, ROOT, Section, Unit};

const DURATION: &str = r"^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^[0-9]+$";
const APP_NAME: &str = "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$";
const SIZE: &str = r"^[0-9.]+ *([kKmMgGtT][iI]?[bB]?)?$";

#[cfg(test)]
mod tests;

/// The schema of `fly.toml`: <https://json-schema.org/draft-07/json-schema-release-notes>.
pub fn json_schema() -> Json {
    let mut schema = section(&ROOT);
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "fly.toml",
        "description": "How an app is built, run and reached.",
    });
    let mut whole = head.as_object().cloned().unwrap_or_default();
    whole.append(schema.as_object_mut().unwrap_or(&mut Map::new()));
    // The forms of earlier times that may stand at the top.
    for key in ["auto_stop_machines", "auto_start_machines"] {
        whole["properties"][key] = json!({
            "deprecated": true,
            "description": "Belongs into [http_service] or [[services]].",
        });
    }
    for (key, place) in [
        ("kill_signal", "the top of the file"),
        ("kill_timeout", "the top of the file"),
        ("metrics_port", "[[metrics]], as port"),
        ("metrics_path", "[[metrics]], as path"),
    ] {
        whole["properties"]["experimental"]["properties"][key] = json!({
            "deprecated": true,
            "description": format!("Belongs into {place}."),
        });
    }
    Json::Object(whole)
}

fn section(section: &Section) -> Json {
    let mut properties = Map::new();
    for key in section.keys {
        for name in std::iter::once(&key.name).chain(key.aliases) {
            let mut property = described(key);
            if *name != key.name {
                property["deprecated"] = Json::from(true);
            }
            properties.insert((*name).to_owned(), property);
        }
    }
    for (name, why) in section.retired {
        properties.insert(
            (*name).to_owned(),
            json!({ "deprecated": true, "description": format!("This {why}.") }),
        );
    }
    let mut table =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !section.required.is_empty() {
        table["required"] = json!(section.required);
    }
    table
}

fn described(key: &Key) -> Json {
    let mut property = json!({ "description": key.meaning });
    if let (Json::Object(own), Json::Object(kind)) = (&mut property, kind(key.kind)) {
        own.extend(kind);
    }
    property
}

fn kind(kind: Kind) -> Json {
    match kind {
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::AppName => json!({ "type": "string", "pattern": APP_NAME, "maxLength": 63 }),
        Kind::Preset => {
            let names: Vec<String> = GuestSize::presets().map(|(name, _)| name).collect();
            json!({ "enum": names })
        }
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer(least, most) => json!({ "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "type": "string", "pattern": "^[0-9]+$" },
        ] }),
        Kind::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Kind::Duration(bare) => {
            let unit = match bare {
                Bare::Seconds => "seconds",
                Bare::Milliseconds => "milliseconds",
            };
            json!({ "anyOf": [
                { "type": "string", "pattern": DURATION },
                { "type": "number", "minimum": 0, "description": format!("A number of {unit}.") },
            ] })
        }
        Kind::Size(unit) => {
            let unit = match unit {
                Unit::Megabytes => "MB",
                Unit::Gigabytes { .. } => "GB",
            };
            json!({ "anyOf": [
                { "type": "string", "pattern": SIZE },
                { "type": "number", "minimum": 1, "description": format!("A number of {unit}.") },
            ] })
        }
        Kind::Words | Kind::Command => json!({ "anyOf": [
            { "type": "array", "items": { "type": "string" } },
            { "type": "string" },
        ] }),
        Kind::Choices(words) => json!({ "anyOf": [
            { "type": "array", "items": { "enum": words } },
            { "enum": words },
        ] }),
        Kind::Map(inner) => {
            let values = self::kind(*inner);
            json!({ "anyOf": [
                { "type": "object", "additionalProperties": values },
                { "type": "array", "items": { "type": "object" } },
            ] })
        }
        Kind::Table(inner) => section(inner),
        Kind::List(inner) => {
            let table = section(inner);
            json!({ "anyOf": [{ "type": "array", "items": table }, table] })
        }
        Kind::Named(inner) => json!({ "anyOf": [
            { "type": "object", "additionalProperties": section(inner) },
            { "type": "array", "items": { "type": "object" } },
        ] }),
        Kind::Headers => json!({ "anyOf": [
            { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } },
            { "type": "array", "items": { "type": "object", "required": ["name", "value"] } },
        ] }),
        Kind::AutoStop => json!({ "enum": ["off", "stop", "suspend", true, false] }),
        Kind::Concurrency(inner) => {
            let table = section(inner);
            json!({ "anyOf": [
                table,
                { "type": "string", "pattern": "^[0-9]+(,[0-9]+)?$" },
                { "type": "array", "items": table, "minItems": 1, "maxItems": 1 },
            ] })
        }
        Kind::Any => json!({}),
    }
}

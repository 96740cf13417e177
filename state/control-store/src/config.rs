//! The configuration as the user wrote it: kept as text, so that no number and no order of keys changes.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// A JSON object whose values are left alone.
struct Members(Vec<(String, Box<RawValue>)>);

/// The same configuration with this metadata; everything else stays as it was written.
pub(crate) fn with_metadata(
    config: &RawValue,
    metadata: &BTreeMap<String, String>,
) -> Result<Box<RawValue>, serde_json::Error> {
    let mut members: Members = serde_json::from_str(config.get())?;
    let value = to_raw_value(metadata)?;
    match members.0.iter_mut().find(|(key, _)| key == "metadata") {
        Some((_, old)) => *old = value,
        None => members.0.push(("metadata".to_owned(), value)),
    }
    to_raw_value(&members)
}

/// What the event log says of a configuration: the parts that say how the machine runs, and of its environment the
/// names only. Commands, files and headers stay out, since people put secrets there.
pub(crate) fn summary(config: &RawValue) -> Value {
    const SHOWN: [&str; 12] = [
        "image",
        "guest",
        "restart",
        "auto_destroy",
        "schedule",
        "standbys",
        "stop_config",
        "metadata",
        "mounts",
        "rootfs",
        "dns",
        "disable_machine_autostart",
    ];
    let mut shown = Map::new();
    if let Ok(Value::Object(config)) = serde_json::from_str(config.get()) {
        for (key, value) in config {
            if SHOWN.contains(&key.as_str()) {
                shown.insert(key, value);
            } else if let ("env", Value::Object(env)) = (key.as_str(), value) {
                let names = env.into_iter().map(|(name, _)| Value::String(name));
                shown.insert("env_names".to_owned(), names.collect());
            }
        }
    }
    Value::Object(shown)
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn metadata_changes_and_nothing_else_does() {
        let config = raw(
            r#"{"z":1.50,"metadata":{"a":"1"},"big":123456789012345678901234567890,"env":{"B":"","A":""}}"#,
        );
        let metadata = BTreeMap::from([("b".to_owned(), "2".to_owned())]);
        assert_eq!(
            with_metadata(&config, &metadata).unwrap().get(),
            r#"{"z":1.50,"metadata":{"b":"2"},"big":123456789012345678901234567890,"env":{"B":"","A":""}}"#
        );
        assert_eq!(
            with_metadata(&raw(r#"{"image":"x"}"#), &metadata)
                .unwrap()
                .get(),
            r#"{"image":"x","metadata":{"b":"2"}}"#
        );
    }

    #[test]
    fn the_log_sees_no_value_of_the_environment() {
        let config = raw(
            r#"{"image":"x","env":{"PASSWORD":"hunter2"},"init":{"cmd":["--key=hunter2"]},
               "files":[{"guest_path":"/k","raw_value":"hunter2"}],"processes":[{"env":{"P":"hunter2"}}],
               "containers":[{"env":{"P":"hunter2"}}],"checks":{"c":{"headers":[{"values":["hunter2"]}]}}}"#,
        );
        let shown = summary(&config);
        assert_eq!(shown["env_names"][0], "PASSWORD");
        assert_eq!(shown["image"], "x");
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
    }
}

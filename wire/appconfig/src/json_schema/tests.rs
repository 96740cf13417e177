//! What the schema accepts and refuses, beside what reading does. Of JSON schema, this knows the words that ours uses.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{APP_NAME, DURATION, SIZE, json_schema};
use crate::{Format, read};

/// What the value does against the schema, as paths with a reason; empty if nothing.
fn faults(schema: &Json, value: &Json, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fault = |is_so: bool, what: &str| {
        if is_so {
            found.push(format!("{path}: {what}"));
        }
    };
    let types: Vec<&str> = match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(all) => all.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    fault(
        !types.is_empty() && !types.iter().any(|name| is_a(name, value)),
        "type",
    );
    if let Json::Array(allowed) = &schema["enum"] {
        fault(!allowed.contains(value), "enum");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        fault(!matches(pattern, text), "pattern");
    }
    if let Some(number) = value.as_f64() {
        fault(
            schema["minimum"]
                .as_f64()
                .is_some_and(|least| number < least),
            "minimum",
        );
        fault(
            schema["maximum"].as_f64().is_some_and(|most| number > most),
            "maximum",
        );
    }
    if let Json::Array(all) = &schema["anyOf"] {
        let accepts = |one: &Json| faults(one, value, path).is_empty();
        fault(!all.iter().any(accepts), "anyOf");
    }
    if let Json::Object(fields) = value {
        for name in schema["required"].as_array().into_iter().flatten() {
            fault(
                !fields.contains_key(name.as_str().unwrap()),
                &format!("lacks {name}"),
            );
        }
        for (name, value) in fields {
            let at = format!("{path}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Json::Null, Json::Bool(false)) => found.push(format!("{at}: unknown")),
                (Json::Null, further @ Json::Object(_)) => {
                    found.extend(faults(further, value, &at))
                }
                (Json::Null, _) => {}
                (property, _) => found.extend(faults(property, value, &at)),
            }
        }
    }
    if let Json::Array(items) = value {
        let bounds = [("minItems", true), ("maxItems", false)];
        for (word, least) in bounds {
            let breaks = schema[word].as_u64().is_some_and(|bound| match least {
                true => (items.len() as u64) < bound,
                false => items.len() as u64 > bound,
            });
            if breaks {
                found.push(format!("{path}: {word}"));
            }
        }
        for (index, item) in items.iter().enumerate() {
            found.extend(faults(&schema["items"], item, &format!("{path}[{index}]")));
        }
    }
    found
}

fn is_a(name: &str, value: &Json) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type {other}"),
    }
}

/// Our patterns, by hand.
fn matches(pattern: &str, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match pattern {
        DURATION => text.parse::<mayfly_wire::GoDuration>().is_ok() || digits(text),
        SIZE => text.starts_with(|first: char| first.is_ascii_digit()),
        APP_NAME => read(&format!("app = '{text}'"), Format::Toml).is_valid(),
        "^[0-9]+$" => digits(text),
        "^[0-9]+(,[0-9]+)?$" => text.split(',').count() <= 2 && text.split(',').all(digits),
        other => panic!("pattern {other}"),
    }
}

fn of_toml(text: &str) -> Json {
    let table: toml::Table = text.parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn editors_accept_what_reading_accepts() {
    let schema = json_schema();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for name in ["web", "everything", "legacy", "tables", "groups"] {
        let text = fs::read_to_string(corpus.join(format!("{name}.toml"))).unwrap();
        let reading = read(&text, Format::Toml);
        let unknown: Vec<&str> = reading
            .problems
            .iter()
            .filter(|problem| problem.rule == Some("unknown-key"))
            .map(|problem| problem.path.as_str())
            .collect();
        for fault in faults(&schema, &of_toml(&text), "") {
            let path = fault.trim_start_matches('.');
            assert!(
                unknown.iter().any(|known| path.starts_with(known)),
                "{name}: {fault}"
            );
        }
        // The normal form, as `config save --json` writes it.
        let normal = reading.config.to_value();
        assert_eq!(faults(&schema, &normal, ""), [""; 0], "{name}");
    }
    for text in [
        "[http_service]\ninternal_port = '8080'\nauto_stop_machines = true\n",
        "[http_service]\ninternal_port = 80\n[[http_service.concurrency]]\nsoft_limit = 25\n",
        "[http_service]\ninternal_port = 80\nconcurrency = '20,25'\n",
        "[[services.ports]]\nport = 443\nhandlers = ['tls']\ntls_options = { alpn = ['mqtt'] }\n",
        "kill_timeout = 30\n[deploy]\nwait_timeout = '10m'\n",
        "[vm]\nmemory_mb = 256\n[mounts]\nsource = 'd'\ndestination = '/d'\n",
        "[regions]\niad = 2\n[auto_stop_machines]\nenabled = true\n",
    ] {
        assert!(read(text, Format::Toml).is_valid(), "{text}");
        assert_eq!(faults(&schema, &of_toml(text), ""), [""; 0], "{text}");
    }
}

#[test]
fn editors_refuse_what_reading_refuses() {
    let schema = json_schema();
    for text in [
        "app = 'Not a name'",
        "kill_signal = 'SIGWINCH'",
        "kill_timeout = 'soon'",
        "swap_size_mb = -1",
        "[env]\nA = [1]",
        "[deploy]\nstrategy = 'blue'",
        "[deploy]\nmax_unavailable = -1",
        "[http_service]\nforce_https = true",
        "[http_service]\ninternal_port = 70000",
        "[http_service]\ninternal_port = 80\nauto_stop_machines = 'sotp'",
        "[http_service]\ninternal_port = 80\nconcurrency = 'many'",
        "[[services]]\nprotocol = 'icmp'",
        "[[services.ports]]\nport = 80\nhandlers = ['htp']",
        "[[vm]]\nsize = 'shared-cpu-3x'",
        "[[vm]]\ncpus = 0",
        "[[mounts]]\nsource = 'd'",
        "[[files]]\nraw_value = 'YQ=='",
        "[[statics]]\nguest_path = '/a'",
        "[[metrics]]\npath = '/m'",
        "[[restart]]\npolicy = 'sometimes'",
        "[checks.a]\nport = 80",
        "[[machine_checks]]\nimage = 'curl'",
    ] {
        let reading = read(text, Format::Toml);
        assert!(!reading.is_valid(), "{text}");
        let value = of_toml(text);
        assert_ne!(faults(&schema, &value, ""), [""; 0], "{text}");
    }
    assert_ne!(faults(&schema, &json!({ "http_servce": {} }), ""), [""; 0]);
}

use serde_json::Value as Json;

pub(super) fn write(value: &Json) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// A list or table in lines of its own, each `depth` levels in.
fn block(value: &Json, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                text.push_str(&format!("{indent}{}:", scalar_text(key)));
                nested(value, depth + 1, text);
            }
        }
        Json::Array(items) => {
            for item in items {
                text.push_str(&format!("{indent}-"));
                match item {
                    // The first key stands beside the dash, the others below it.
                    Json::Object(fields) if !fields.is_empty() => {
                        let mut lines = String::new();
                        block(item, depth + 1, &mut lines);
                        text.push(' ');
                        text.push_str(lines.trim_start_matches(' '));
                    }
                    _ => nested(item, depth + 1, text),
                }
            }
        }
        _ => text.push_str(&scalar(value)),
    }
}

/// What follows a colon or dash.
fn nested(value: &Json, depth: usize, text: &mut String) {
    match value {
        Json::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            block(value, depth, text);
        }
        Json::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(value, depth, text);
        }
        _ => text.push_str(&format!(" {}\n", scalar(value))),
    }
}

fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) => scalar_text(text),
        other => other.to_string(),
    }
}

/// A text bare where no reader could take it for anything else, otherwise in double quotes, in which YAML reads what
/// JSON writes.
fn scalar_text(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./@".contains(&byte))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        text.to_owned()
    } else {
        Json::from(text).to_string()
    }
}

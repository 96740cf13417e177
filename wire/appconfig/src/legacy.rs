//! Forms of earlier times, rewritten to those of today before anything else looks at the configuration.

use crate::node::{Entry, Node, Value};
use crate::problem::Problem;

/// Rewrites the whole configuration; what users should change is among the problems.
pub(crate) fn modernize(root: &mut Node, problems: &mut Vec<Problem>) {
    if root.table().is_none() {
        return;
    }
    env_list(root);
    named_list(root, "processes", Some("command"));
    named_list(root, "checks", None);
    experimental(root);
    autostop_tables(root, problems);
}

/// `[[env]]` tables become one.
fn env_list(root: &mut Node) {
    let Some(env) = entry_mut(root, "env") else {
        return;
    };
    let Value::List(tables) = &mut env.node.value else {
        return;
    };
    let mut merged: Vec<Entry> = Vec::new();
    for table in std::mem::take(tables) {
        if let Value::Table(entries) = table.value {
            for entry in entries {
                merged.retain(|known| known.key != entry.key);
                merged.push(entry);
            }
        }
    }
    env.node.value = Value::Table(merged);
}

/// `[[processes]] name = …` becomes a table by name, of the key `only` where one is named.
fn named_list(root: &mut Node, key: &str, only: Option<&str>) {
    let Some(list) = entry_mut(root, key) else {
        return;
    };
    let Value::List(items) = &mut list.node.value else {
        return;
    };
    let mut named = Vec::new();
    for mut item in std::mem::take(items) {
        let Some(name) = item.take("name") else {
            continue;
        };
        let Some(text) = name.node.text().map(str::to_owned) else {
            continue;
        };
        let node = match only {
            Some(only) => item.take(only).map(|entry| entry.node).unwrap_or(Node {
                span: item.span.clone(),
                value: Value::Text(String::new()),
            }),
            None => item,
        };
        named.push(Entry {
            key: text,
            key_span: name.node.span,
            node,
        });
    }
    list.node.value = Value::Table(named);
}

/// Keys that left `[experimental]`.
fn experimental(root: &mut Node) {
    let Some(section) = entry_mut(root, "experimental") else {
        return;
    };
    let section_span = section.node.span.clone();
    let moved: Vec<Entry> = ["kill_timeout", "kill_signal"]
        .into_iter()
        .filter_map(|key| section.node.take(key))
        .collect();
    let metrics: Vec<Entry> = [("metrics_port", "port"), ("metrics_path", "path")]
        .into_iter()
        .filter_map(|(old, new)| {
            let entry = section.node.take(old)?;
            Some(Entry {
                key: new.to_owned(),
                ..entry
            })
        })
        .collect();
    for entry in moved {
        put(root, entry);
    }
    if !metrics.is_empty() {
        put(
            root,
            Entry {
                key: "metrics".to_owned(),
                key_span: section_span.clone(),
                node: Node {
                    span: section_span,
                    value: Value::Table(metrics),
                },
            },
        );
    }
}

/// `[auto_stop_machines]` and `[auto_start_machines]` at the top become keys of every service.
fn autostop_tables(root: &mut Node, problems: &mut Vec<Problem>) {
    let mut found = Vec::new();
    for key in [
        "auto_stop_machines",
        "auto_start_machines",
        "min_machines_running",
    ] {
        if let Some(mut entry) = root.take(key) {
            problems.push(
                Problem::warning(
                    key,
                    "is a key of services; it was read as if it stood in every one of them",
                )
                .remedy(format!(
                    "Move it into [http_service] or [[services]]: {key} = …"
                )),
            );
            if let Some(least) = entry.node.take("min_machines_running") {
                found.push(least);
            }
            if entry.node.table().is_some() {
                let enabled = entry.node.take("enabled").map(|enabled| enabled.node);
                entry.node = enabled.unwrap_or(Node {
                    span: entry.node.span.clone(),
                    value: Value::Bool(true),
                });
            }
            found.push(entry);
        }
    }
    if found.is_empty() {
        return;
    }
    for section in ["http_service", "services", "service"] {
        let Some(entry) = entry_mut(root, section) else {
            continue;
        };
        let services: Vec<&mut Node> = match &mut entry.node.value {
            Value::List(services) => services.iter_mut().collect(),
            _ => vec![&mut entry.node],
        };
        for service in services {
            for entry in &found {
                put(service, entry.clone());
            }
        }
    }
}

fn entry_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Entry> {
    node.table_mut()?.iter_mut().find(|entry| entry.key == key)
}

/// Adds a key unless the table has it.
fn put(node: &mut Node, entry: Entry) {
    if let Some(entries) = node.table_mut()
        && entries.iter().all(|known| known.key != entry.key)
    {
        entries.push(entry);
    }
}

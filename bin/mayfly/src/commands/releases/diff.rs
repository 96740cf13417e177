use std::collections::BTreeMap;

use clap::Args;
use mayfly_wire::Release;
use serde_json::{Value, json};

use super::version;
use crate::context::{AppFlags, Context, JsonFlag};

#[derive(Args, Debug)]
pub(super) struct Diff {
    /// The earlier release, as 2 or v2
    #[arg(value_parser = version)]
    from: i64,
    /// The later release
    #[arg(value_parser = version)]
    to: i64,
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Diff {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        let (from, to) = (
            api.release(&app, self.from).await?,
            api.release(&app, self.to).await?,
        );
        let changes = changes(&facts(&from), &facts(&to));
        if self.json.json {
            let list: Vec<Value> = changes
                .iter()
                .map(|(path, before, after)| {
                    json!({ "path": path, "before": before, "after": after })
                })
                .collect();
            return Ok(context.out.json(&Value::from(list))?);
        }
        if changes.is_empty() {
            let line = format!("v{} and v{} are the same", self.from, self.to);
            return Ok(context.out.line(&line)?);
        }
        for (path, before, after) in changes {
            for (sign, code, value) in [('-', "31", before), ('+', "32", after)] {
                if let Some(value) = value {
                    let line = format!("{sign} {path} = {value}");
                    context.out.line(&context.out.style(&line, code))?;
                }
            }
        }
        Ok(())
    }
}

/// What makes a release, as paths and values.
fn facts(release: &Release) -> BTreeMap<String, Value> {
    let mut facts = BTreeMap::new();
    facts.insert("image".to_owned(), json!(release.image_ref));
    facts.insert("strategy".to_owned(), json!(release.strategy));
    facts.insert("secrets_version".to_owned(), json!(release.secrets_version));
    if let Some(config) = &release.config {
        flatten("config", config, &mut facts);
    }
    // The version counts changes; what they are, names and digests say.
    flatten("secrets", &json!(release.secrets), &mut facts);
    flatten("machines", &json!(release.machines), &mut facts);
    facts
}

fn flatten(path: &str, value: &Value, facts: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&format!("{path}.{key}"), value, facts);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), value, facts);
            }
        }
        value => {
            facts.insert(path.to_owned(), value.clone());
        }
    }
}

/// Path, value before and value after of everything that differs.
fn changes(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Vec<(String, Option<Value>, Option<Value>)> {
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| {
            (
                path.clone(),
                before.get(path).cloned(),
                after.get(path).cloned(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let release = |image: &str, config: Value| Release {
            image_ref: image.to_owned(),
            config: Some(config),
            secrets: Some([("KEY".to_owned(), image.to_owned())].into()),
            machines: Some([("app".to_owned(), [("iad".to_owned(), 2)].into())].into()),
            ..Release::default()
        };
        let one = release(
            "a",
            json!({"env": {"A": "1", "B": "2"}, "mounts": [{"source": "x"}]}),
        );
        let two = release(
            "b",
            json!({"env": {"A": "1", "C": "3"}, "mounts": [{"source": "x"}]}),
        );
        assert_eq!(
            changes(&facts(&one), &facts(&two)),
            [
                ("config.env.B".to_owned(), Some(json!("2")), None),
                ("config.env.C".to_owned(), None, Some(json!("3"))),
                ("image".to_owned(), Some(json!("a")), Some(json!("b"))),
                ("secrets.KEY".to_owned(), Some(json!("a")), Some(json!("b"))),
            ]
        );
    }
}

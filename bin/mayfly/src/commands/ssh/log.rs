use clap::Args;
use serde_json::{Value, json};

use super::issue::organization;
use crate::context::{Context, JsonFlag};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct Log {
    /// Organization (default: the only one you have)
    #[arg(value_name = "ORG")]
    org_argument: Option<String>,
    /// Organization
    #[arg(short, long, value_name = "ORG", env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Log {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = organization(&api, self.org_argument.or(self.org)).await?;
        let mut entries = Vec::new();
        let mut after = 0;
        let authority = loop {
            let mut page = api.ssh_log(&org, after).await?;
            let next = page.get("next").and_then(Value::as_u64).unwrap_or(after);
            let more = match page.get_mut("entries").map(Value::take) {
                Some(Value::Array(more)) => more,
                _ => Vec::new(),
            };
            if more.is_empty() || next <= after {
                break page.get_mut("authority").map(Value::take);
            }
            entries.extend(more);
            after = next;
        };
        if self.json.json {
            let document = json!({ "authority": authority, "entries": entries });
            return Ok(context.out.json(&document)?);
        }
        if let Some(Value::String(authority)) = &authority {
            context.out.line(&format!("Authority: {authority}"))?;
        }
        let mut table = Table::new(&["At", "What", "Who", "App", "Machine", "Details"])
            .optional(&["Machine", "App"]);
        for entry in &entries {
            table.row(row(entry).each_ref().map(String::as_str));
        }
        Ok(table.print(&context.out)?)
    }
}

fn row(entry: &Value) -> [String; 6] {
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => {
            let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            words.join(",")
        }
        Some(other) => other.to_string(),
    };
    let of = |key: &str| text(entry.get(key));
    let after = |key: &str| text(entry.get("after").and_then(|after| after.get(key)));
    let (what, details) = match entry.get("kind").and_then(Value::as_str) {
        Some("ssh.certificate") => {
            let apps = after("apps");
            let apps = if apps.is_empty() { "all apps" } else { &apps };
            let until = after("valid_until");
            let details = format!("{} for {apps} until {until}", after("principals"));
            ("certificate", details)
        }
        Some("ssh.session") => {
            let details = format!("{} as {}", after("what"), after("user"));
            ("session", details)
        }
        _ => ("authority", after("public_key")),
    };
    let visitor = after("visitor");
    let who = if visitor.is_empty() {
        of("actor")
    } else {
        visitor
    };
    [
        of("at"),
        what.to_owned(),
        who,
        of("app"),
        of("machine_id"),
        details,
    ]
}

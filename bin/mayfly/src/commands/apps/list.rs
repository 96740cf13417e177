use clap::Args;
use serde_json::{Value, json};

use crate::client::App;
use crate::context::{Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only the apps of this organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Only print names
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let apps = context.api()?.apps(self.org.as_deref()).await?;
        let out = &context.out;
        if self.json.json {
            let documents: Vec<Value> = apps.iter().map(document).collect();
            return Ok(out.json(&Value::from(documents))?);
        }
        if self.quiet {
            let names: String = apps.iter().map(|app| format!("{}\n", app.name())).collect();
            return Ok(out.text(&names)?);
        }
        if apps.is_empty() {
            return Ok(out.line("No apps found")?);
        }
        let mut table = Table::new(&["Name", "Owner", "Status", "Network", "Latest Deploy"])
            .optional(&["Network", "Latest Deploy"])
            .rare(&["Network"]);
        for app in &apps {
            let deployed = app
                .latest_deploy()
                .map(|at| relative_time(at, context.now()));
            let deployed = deployed.unwrap_or_default();
            let network = app.network().unwrap_or_default();
            table.row([app.name(), app.org_slug(), app.status(), network, &deployed]);
        }
        Ok(table.print(out)?)
    }
}

/// The app under upstream's names.
pub(crate) fn document(app: &App) -> Value {
    json!({
        "ID": app.id(),
        "Name": app.name(),
        "Status": app.status(),
        "Deployed": app.is_deployed(),
        "Hostname": app.hostname().unwrap_or_default(),
        "AppURL": app.url().unwrap_or_default(),
        "Network": app.network().unwrap_or_default(),
        "Organization": { "ID": app.org("id"), "Name": app.org("name"), "Slug": app.org_slug() },
        "PlatformVersion": "machines",
        "ExpiresAt": app.expires_at(),
        "MachineCount": app.document().get("machine_count").cloned().unwrap_or_default(),
        "CurrentRelease": app.document().get("current_release").cloned().unwrap_or_default(),
    })
}

use clap::{Args, Subcommand};
use mayfly_types::Timestamp;
use serde_json::{Map, Value};

use crate::client::Api;
use crate::context::{AppFlags, Context, JsonFlag};

use crate::output::Table;

use super::select::{Selected, SomeMachines};

#[derive(Subcommand, Debug)]
pub(crate) enum LeasesCommand {
    /// Show who may change machines right now
    #[command(visible_alias = "list", alias = "ls")]
    View(View),
    /// Take leases away from whoever holds them
    Clear(Clear),
}

#[derive(Args, Debug)]
pub(crate) struct View {
    #[command(flatten)]
    machines: SomeMachines,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct Clear {
    #[command(flatten)]
    machines: SomeMachines,
}

impl LeasesCommand {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            LeasesCommand::View(command) => command.run(context).await,
            LeasesCommand::Clear(command) => command.run(context).await,
        }
    }
}

fn text<'a>(lease: &'a Value, key: &str) -> &'a str {
    let data = lease.get("data");
    data.and_then(|data| data.get(key)?.as_str())
        .unwrap_or_default()
}

/// The machines named, or without a name all of the app.
async fn chosen(
    context: &Context,
    api: &Api,
    machines: &SomeMachines,
) -> anyhow::Result<Vec<Selected>> {
    if !machines.ids.is_empty() {
        return machines.select(context, api).await;
    }
    all(api, &machines.app).await
}

async fn all(api: &Api, app: &AppFlags) -> anyhow::Result<Vec<Selected>> {
    let app = app.require()?;
    let machines = api.machines(&app, false).await?.into_iter();
    Ok(machines
        .map(|machine| Selected {
            app: app.clone(),
            machine,
        })
        .collect())
}

impl View {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let mut leases = Map::new();
        for selected in chosen(context, &api, &self.machines).await? {
            let id = selected.machine.id();
            if let Some(lease) = api.lease(&selected.app, id).await? {
                leases.insert(id.to_owned(), lease);
            }
        }
        if self.json.json {
            return Ok(context.out.json(&Value::from(leases))?);
        }
        if leases.is_empty() {
            return Ok(context.out.line("No leases found")?);
        }
        let mut table = Table::new(&["Machine", "Nonce", "Status", "Owner", "Expires"]);
        for (machine, lease) in &leases {
            let expires = lease.pointer("/data/expires_at").and_then(Value::as_i64);
            let expires = expires.map_or_else(String::new, |seconds| {
                Timestamp::from_millis(seconds.saturating_mul(1000)).to_string()
            });
            let status = lease
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            table.row([
                machine,
                text(lease, "nonce"),
                status,
                text(lease, "owner"),
                &expires,
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

impl Clear {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        for selected in chosen(context, &api, &self.machines).await? {
            let (app, id) = (&selected.app, selected.machine.id());
            let Some(lease) = api.lease(app, id).await? else {
                continue;
            };
            context
                .out
                .note(&format!("clearing lease for machine {id}"));
            api.release_lease(app, id, text(&lease, "nonce")).await?;
        }
        Ok(context.out.line("Lease(s) cleared")?)
    }
}

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Subcommand, Debug)]
pub(crate) enum ChecksCommand {
    /// List the health checks of an app's machines
    #[command(alias = "ls")]
    List(List),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    /// Only checks of this name
    #[arg(long, value_name = "NAME")]
    check_name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl ChecksCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            ChecksCommand::List(command) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let mut machines = context.api()?.machines(&app, false).await?;
        machines.sort_by(|one, other| one.id().cmp(other.id()));
        let is_wanted = |name: &str| {
            self.check_name
                .as_deref()
                .is_none_or(|wanted| wanted == name)
        };
        if self.json.json {
            let of_machines: Map<String, Value> = machines
                .iter()
                .map(|machine| {
                    let checks = machine.document().get("checks").and_then(Value::as_array);
                    let mut checks = checks.cloned().unwrap_or_default();
                    checks.retain(|check| check["name"].as_str().is_some_and(is_wanted));
                    (machine.id().to_owned(), Value::from(checks))
                })
                .filter(|(_, checks)| checks.as_array().is_some_and(|checks| !checks.is_empty()))
                .collect();
            return Ok(context.out.json(&Value::from(of_machines))?);
        }
        let headers = ["Name", "Status", "Machine", "Last Updated", "Output"];
        let title = format!("Health Checks for {app}");
        let mut table = Table::new(&headers)
            .title(&title)
            .optional(&["Last Updated"]);
        let mut is_empty = true;
        for machine in &machines {
            let mut checks = machine.checks();
            checks.sort();
            for [name, status, updated_at, output] in checks {
                if !is_wanted(name) {
                    continue;
                }
                is_empty = false;
                let updated_at = updated_at.parse().map_or_else(
                    |_| updated_at.to_owned(),
                    |at| relative_time(at, context.now()),
                );
                table.row([name, status, machine.id(), &updated_at, output]);
            }
        }
        if is_empty {
            let which = self
                .check_name
                .map_or_else(String::new, |name| format!(" called {name}"));
            return Ok(context.out.line(&format!(
                "The machines of {app} have no health checks{which}."
            ))?);
        }
        Ok(table.print(&context.out)?)
    }
}

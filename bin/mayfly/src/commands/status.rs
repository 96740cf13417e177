use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Api, App, Machine};
use crate::commands::autoscale;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::output::{Table, fields};
use crate::program;

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) app: AppFlags,
    /// Show destroyed machines too
    #[arg(long)]
    all: bool,
    /// Accepted for compatibility: the status always shows the deployment
    #[arg(long, hide = true)]
    deployment: bool,
    /// Show the status again and again
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks with --watch
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    rate: u64,
    #[command(flatten)]
    pub(crate) json: JsonFlag,
}

impl Status {
    pub(crate) async fn run(self, context: &Context, app: &str) -> anyhow::Result<()> {
        let api = context.api()?;
        if !self.watch {
            return self.once(context, &api, app).await;
        }
        if self.json.json {
            return Err(Failure::new("--watch and --json are not supported together").into());
        }
        if !context.out.is_interactive() {
            return Err(
                Failure::new("--watch is not supported for non-interactive sessions").into(),
            );
        }
        loop {
            let at = context.now().to_string();
            let clock = at.get(11..19).unwrap_or_default();
            // Clears the screen and goes to its top left corner.
            context.out.text("\x1b[2J\x1b[H")?;
            let (app_shown, clock_shown) = (context.out.bold(app), context.out.bold(clock));
            context
                .out
                .line(&format!("{app_shown} at: {clock_shown}\n"))?;
            self.once(context, &api, app).await?;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(self.rate)) => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    }

    async fn once(&self, context: &Context, api: &Api, name: &str) -> anyhow::Result<()> {
        let app = api.app(name).await?;
        let mut machines = api.machines(name, self.all).await?;
        machines.retain(|machine| self.all || machine.is_active());
        machines.sort_by(|one, other| one.id().cmp(other.id()));
        if self.json.json {
            return Ok(context.out.json(&document(&app, machines))?);
        }
        show(context, &app, &machines)?;
        for line in autoscale::lines(&api.autoscale(name).await?) {
            context.out.line(&line)?;
        }
        Ok(())
    }
}

/// The status under upstream's names. Every machine is listed, whoever created it.
fn document(app: &App, machines: Vec<Machine>) -> Value {
    let version = machines
        .iter()
        .filter_map(release)
        .max()
        .unwrap_or_default();
    let machines: Vec<Value> = machines.into_iter().map(Machine::into_document).collect();
    let mut document = json!({
        "ID": app.id(),
        "Name": app.name(),
        "Deployed": app.is_deployed(),
        "Status": app.status(),
        "Hostname": app.hostname().unwrap_or_default(),
        "Version": version,
        "AppURL": app.url().unwrap_or_default(),
        "Organization": { "ID": app.org("id"), "Name": app.org("name"), "Slug": app.org_slug() },
        "PlatformVersion": "machines",
        "Machines": machines,
    });
    if let Some(network) = app.network() {
        document["Network"] = Value::from(network);
    }
    document
}

/// The release a machine was deployed by.
fn release(machine: &Machine) -> Option<u64> {
    machine.metadata("fly_release_version").parse().ok()
}

fn show(context: &Context, app: &App, machines: &[Machine]) -> anyhow::Result<()> {
    let out = &context.out;
    let newest = machines
        .iter()
        .filter(|machine| machine.is_managed())
        .max_by_key(|machine| release(machine));
    let image = newest.map_or_else(|| "-".to_owned(), Machine::image);
    let mut pairs = vec![
        ("Name", app.name()),
        ("Owner", app.org_slug()),
        ("Hostname", app.hostname().unwrap_or("-")),
        ("Image", image.as_str()),
        ("Platform", "machines"),
    ];
    if let Some(network) = app.network() {
        pairs.push(("Network", network));
    }
    fields(out, "App", &pairs)?;
    if machines.is_empty() {
        let name = program::name();
        return Ok(out.line(&format!(
            "The app has no machines yet. Deploy it with `{name} deploy`, or start one with `{name} machine run IMAGE --app {}`.",
            app.name()
        ))?);
    }
    let headers = [
        "Process",
        "ID",
        "Version",
        "Region",
        "State",
        "Role",
        "Checks",
        "Volume",
        "Last Updated",
    ];
    let mut table = Table::new(&headers)
        .title("Machines")
        .optional(&["Last Updated", "Role", "Version", "Checks", "Volume"])
        .rare(&["Volume"]);
    let mut rows: Vec<[String; 9]> = machines.iter().map(row).collect();
    rows.sort();
    for row in &rows {
        table.row(row.each_ref().map(String::as_str));
    }
    table.print(out)?;
    let standbys = machines
        .iter()
        .any(|machine| !machine.standbys().is_empty());
    let unreachable = machines.iter().any(|machine| !machine.is_reachable());
    if standbys || unreachable {
        out.line("Notes:")?;
    }
    if standbys {
        out.line("  † Standby machine (it starts only when the machine it stands by for, or its host, fails)")?;
    }
    if unreachable {
        out.line("  💀 The machine's host is unreachable")?;
    }
    Ok(())
}

fn row(machine: &Machine) -> [String; 9] {
    let mut process = match machine.process_group() {
        "" => "<default>".to_owned(),
        group => group.to_owned(),
    };
    if !machine.standbys().is_empty() {
        process.push('†');
    }
    if !machine.is_reachable() {
        process.push('💀');
    }
    [
        process,
        machine.id().to_owned(),
        machine.metadata("fly_release_version").to_owned(),
        machine.region().to_owned(),
        machine.state().to_owned(),
        machine.metadata("role").to_owned(),
        machine.check_counts().sentence(),
        machine.volume().to_owned(),
        machine.updated_at().to_owned(),
    ]
}

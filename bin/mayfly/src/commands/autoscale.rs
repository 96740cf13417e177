//! `autoscale`: machines that come and go with the load.

use clap::{Args, Subcommand};
use mayfly_wire::{Autoscale, SetAutoscale};
use serde_json::json;

use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Table;

#[derive(Subcommand, Debug)]
pub(crate) enum AutoscaleCommand {
    /// Create machines of a group when all are above their soft limit, and destroy those again when there is little to do
    Set(Set),
    /// Show which groups are scaled by load, and how they stand
    Show(Show),
    /// Leave the number of machines as it is from now on
    Disable(Disable),
}

impl AutoscaleCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            AutoscaleCommand::Set(command) => command.run(context).await,
            AutoscaleCommand::Show(command) => command.run(context).await,
            AutoscaleCommand::Disable(command) => command.run(context).await,
        }
    }
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  autoscale set min=1 max=10\n  autoscale set min=2 max=6 -g web\n  \
                  autoscale set min=1 max=3 --region iad,lhr"
)]
pub(crate) struct Set {
    /// min=N and max=N
    #[arg(value_name = "BOUND=NUMBER", required = true)]
    bounds: Vec<String>,
    #[command(flatten)]
    app: AppFlags,
    /// The process group; the app's default one unless given
    #[arg(short = 'g', long, value_name = "NAME", alias = "group")]
    process_group: Option<String>,
    /// Bounds for each of these regions; for all regions together unless given
    #[arg(short, long, value_name = "CODE", value_delimiter = ',')]
    region: Vec<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let mut wanted = SetAutoscale {
            process_group: self.process_group,
            regions: Some(self.region).filter(|regions| !regions.is_empty()),
            ..SetAutoscale::default()
        };
        for pair in &self.bounds {
            let (bound, number) = match pair.split_once('=') {
                Some(("min", number)) => (&mut wanted.min, number),
                Some(("max", number)) => (&mut wanted.max, number),
                _ => {
                    return Err(
                        Failure::new(format!("'{pair}' is no bound: use min=N and max=N"))
                            .remedy("As in `autoscale set min=1 max=10`.")
                            .into(),
                    );
                }
            };
            let number: Result<i64, _> = number.parse();
            let wrong = || Failure::new(format!("'{pair}': must be a number"));
            *bound = Some(number.map_err(|_| wrong())?);
        }
        let rules = context.api()?.set_autoscale(&app, &wanted).await?;
        print(context, &app, &rules, self.json.json)
    }
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Show {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let rules = context.api()?.autoscale(&app).await?;
        print(context, &app, &rules, self.json.json)
    }
}

/// Machines that the load has made stay.
#[derive(Args, Debug)]
pub(crate) struct Disable {
    #[command(flatten)]
    app: AppFlags,
    /// Only this process group
    #[arg(short = 'g', long, value_name = "NAME", alias = "group")]
    process_group: Option<String>,
    /// Only the bounds of these regions
    #[arg(short, long, value_name = "CODE", value_delimiter = ',')]
    region: Vec<String>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Disable {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let group = self.process_group.as_deref();
        let api = context.api()?;
        let rules = api.disable_autoscale(&app, group, &self.region).await?;
        print(context, &app, &rules, self.json.json)
    }
}

fn print(context: &Context, app: &str, rules: &[Autoscale], as_json: bool) -> anyhow::Result<()> {
    let out = &context.out;
    if as_json {
        return Ok(out.json(&json!(rules))?);
    }
    if rules.is_empty() {
        return Ok(out.line(&format!(
            "Machines of {app} do not come and go with the load"
        ))?);
    }
    let headers = [
        "Group", "Region", "Min", "Max", "Machines", "Running", "Created", "Load",
    ];
    let mut table = Table::new(&headers);
    for rule in rules {
        let bounds = [
            rule.min,
            rule.max,
            rule.machines,
            rule.running,
            rule.created,
        ];
        let [min, max, machines, running, created] = bounds.map(|number| number.to_string());
        table.row([
            rule.process_group.as_str(),
            rule.region.as_deref().unwrap_or("all"),
            &min,
            &max,
            &machines,
            &running,
            &created,
            &load(rule),
        ]);
    }
    table.print(out)?;
    for rule in rules {
        if let Some(doing) = &rule.under_way {
            out.line(&format!("{}: {doing}", rule.process_group))?;
        }
        if let (Some(what), Some(at)) = (&rule.last_change, &rule.changed_at) {
            out.line(&format!("{}: {what}, at {at}", rule.process_group))?;
        }
    }
    Ok(())
}

fn load(rule: &Autoscale) -> String {
    rule.load_percent
        .map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))
}

/// A line for each group that is scaled by load.
pub(super) fn lines(rules: &[Autoscale]) -> Vec<String> {
    let line = |rule: &Autoscale| {
        let region = rule.region.as_ref();
        let region = region.map_or_else(String::new, |code| format!(" in {code}"));
        let doing = rule.under_way.as_ref();
        let doing = doing.map_or_else(String::new, |doing| format!("; {doing}"));
        format!(
            "Autoscale: {}{region} has {} to {} machines, {} of {} made by load, load {}{doing}",
            rule.process_group,
            rule.min,
            rule.max,
            rule.created,
            rule.machines,
            load(rule)
        )
    };
    rules.iter().map(line).collect()
}

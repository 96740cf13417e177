use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use mayfly_wire::ScaleCount;

use crate::commands::deploy::follow_recorded;
use crate::context::{AppFlags, Context};
use crate::failure::Failure;
use crate::machine_config::variables;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  scale count 3\n  scale count web=4 worker=+1\n  scale count 2 --region iad,lhr\n  \
                  scale count 0 --region syd --yes"
)]
pub(crate) struct Count {
    /// How many: 3, +1 or -1; or for each process group, as in web=3 worker=1
    #[arg(value_name = "COUNT", required = true, allow_negative_numbers = true)]
    counts: Vec<String>,
    #[command(flatten)]
    app: AppFlags,
    /// The process group that a number alone is for: app, or the only one, unless given
    #[arg(short = 'g', long, value_name = "NAME", alias = "group")]
    process_group: Option<String>,
    /// Regions to spread them over; those the app is in unless given
    #[arg(short, long, value_name = "CODE", value_delimiter = ',')]
    region: Vec<String>,
    /// At most this many in each region
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    max_per_region: Option<i64>,
    /// Environment of new machines: NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give new machines new volumes, even if others are free
    #[arg(long)]
    with_new_volumes: bool,
    /// Return once the change is recorded
    #[arg(long)]
    detach: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Count {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let (api, app) = (context.api()?, self.app.require()?);
        let mut wanted = ScaleCount {
            counts: Some(self.counts()?),
            regions: Some(self.region.clone()).filter(|regions| !regions.is_empty()),
            max_per_region: self.max_per_region,
            env: Some(variables(&self.env)?).filter(|env| !env.is_empty()),
            with_new_volumes: Some(true).filter(|_| self.with_new_volumes),
            plan: Some(true),
        };
        let (plan, _) = api.scale_count(&app, &wanted).await?;
        if plan.is_empty() {
            context
                .out
                .line("App already scaled to desired state. No need for changes")?;
            return Ok(ExitCode::SUCCESS);
        }
        context.out.line(&format!(
            "App '{app}' is going to be scaled according to this plan:"
        ))?;
        for change in &plan {
            context.out.line(&format!(
                "{:+4} machines for group '{}' on region '{}' of size '{}'",
                change.delta(),
                change.group(),
                change.region(),
                change.size()
            ))?;
            for (count, what) in [
                (change.new_volumes(), "new volumes"),
                (change.reused_volumes(), "unattached volumes"),
            ] {
                if count > 0 {
                    context.out.line(&format!(
                        "{count:+4} {what} for group '{}' on region '{}'",
                        change.group(),
                        change.region()
                    ))?;
                }
            }
        }
        if !self.yes && !context.out.confirm(&format!("Scale app {app}?"))? {
            return Ok(ExitCode::SUCCESS);
        }
        wanted.plan = None;
        let (_, release) = api.scale_count(&app, &wanted).await?;
        let Some(release) = release else {
            context
                .out
                .line("App already scaled to desired state. No need for changes")?;
            return Ok(ExitCode::SUCCESS);
        };
        context.out.line("Executing scale plan")?;
        follow_recorded(context, &app, &release, self.detach).await
    }

    fn counts(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let is_count = |text: &str| text.parse::<i64>().is_ok();
        if let [only] = self.counts.as_slice()
            && is_count(only)
        {
            let group = self.process_group.as_deref().unwrap_or_default();
            return Ok([(group.to_owned(), only.clone())].into());
        }
        self.counts
            .iter()
            .map(|text| match text.split_once('=') {
                Some((group, count)) if !group.is_empty() && is_count(count) => {
                    Ok((group.to_owned(), count.to_owned()))
                }
                _ => Err(Failure::new(format!("'{text}' is not a valid process=count option"))
                    .remedy("Use a number, or numbers for process groups: `scale count web=3 worker=1`.")
                    .into()),
            })
            .collect()
    }
}

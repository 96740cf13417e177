use clap::Args;

use crate::client::Stop;
use crate::commands::machine::restart;
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
pub(crate) struct Restart {
    /// Name of the app
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    app: AppFlags,
    /// Kill the program instead of asking it to end
    #[arg(long)]
    force_stop: bool,
    /// Go on with the next machine without waiting for the checks of the last
    #[arg(long)]
    skip_health_checks: bool,
}

impl Restart {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = match self.name {
            Some(name) => name,
            None => self.app.require()?,
        };
        let api = context.api()?;
        let machines = api.machines(&name, false).await?;
        let running: Vec<_> = machines
            .into_iter()
            .filter(|machine| machine.state() == "started")
            .collect();
        if running.is_empty() {
            return Ok(context
                .out
                .line(&format!("No machine of app {name} is running"))?);
        }
        for machine in &running {
            let (stop, checks) = (Stop::default(), !self.skip_health_checks);
            restart(
                context,
                &api,
                &name,
                machine,
                &stop,
                self.force_stop,
                checks,
            )
            .await?;
        }
        Ok(())
    }
}

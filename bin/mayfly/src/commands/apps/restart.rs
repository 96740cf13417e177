use clap::Args;

use crate::client::Stop;
use crate::commands::machine::wait_until_started;
use crate::context::{AppFlags, Context};
use crate::output::Progress;

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
            let id = machine.id();
            let mut progress = Progress::start(&context.out, &format!("Restarting machine {id}"));
            api.restart_machine(&name, id, &Stop::default(), self.force_stop)
                .await?;
            let patience = std::time::Duration::from_secs(300);
            wait_until_started(
                &api,
                &name,
                machine,
                patience,
                !self.skip_health_checks,
                &mut progress,
            )
            .await?;
            drop(progress);
            context
                .out
                .line(&format!("Machine {id} restarted successfully!"))?;
        }
        Ok(())
    }
}

use mayfly_appconfig::{AppConfig, Sample};
use mayfly_wire::read_value;

use crate::client::Api;
use crate::failure::Failure;
use crate::program;

/// The configuration of an app as its machines have it.
///
/// Machines made by hand count only where no deployed ones are.
pub(super) async fn config(api: &Api, app: &str) -> anyhow::Result<AppConfig> {
    api.app(app).await?;
    let mut machines = api.machines(app, false).await?;
    if machines.iter().any(|machine| machine.is_managed()) {
        machines.retain(|machine| machine.is_managed());
    }
    // A standby is a copy without services: it says less than what it stands by for.
    machines.sort_by_key(|machine| (!machine.standbys().is_empty(), machine.id().to_owned()));
    let samples: Vec<Sample> = machines
        .iter()
        .filter_map(|machine| {
            let config = read_value(machine.config()).ok()?;
            Some(Sample {
                region: machine.region().to_owned(),
                config,
            })
        })
        .collect();
    if samples.is_empty() {
        return Err(Failure::new(format!(
            "app {app} has no machines, so nothing says how it is configured"
        ))
        .remedy(format!(
            "See the file here with `{} config show --local`.",
            program::name()
        ))
        .into());
    }
    Ok(AppConfig::from_machines(app, &samples))
}

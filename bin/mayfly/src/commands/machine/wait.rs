use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use crate::client::{Api, Machine};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Progress;
use crate::program;

use super::select::OneMachine;

/// Between two looks at a machine's checks, of which nothing can be waited for by a call.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

const STATES: [&str; 7] = [
    "started",
    "stopped",
    "suspended",
    "destroyed",
    "settled",
    "created",
    "failed",
];

#[derive(Args, Debug)]
pub(crate) struct Wait {
    #[command(flatten)]
    machine: OneMachine,
    /// State to wait for; `settled` is any that does not change by itself
    #[arg(long, default_value = "settled", value_parser = STATES)]
    state: String,
    /// How long to wait, such as 90s or 5m
    #[arg(short, long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    wait_timeout: Duration,
}

/// A span such as `90s`, `5m` or `1h30m`; a plain number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration such as 90s or 5m");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

impl Wait {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let selected = self.machine.select(context, &api).await?;
        let (app, id) = (&selected.app, selected.machine.id());
        let state = &self.state;
        let waiting = format!(
            "Waiting up to {:?} for machine {id} to reach \"{state}\"...",
            self.wait_timeout
        );
        let progress = Progress::start(&context.out, &waiting);
        let outcome = api
            .wait_for(app, id, &[state.as_str()], self.wait_timeout)
            .await;
        drop(progress);
        outcome.with_context(|| {
            format!(
                "machine {id} did not reach \"{state}\" within {:?}",
                self.wait_timeout
            )
        })?;
        let reached = match state.as_str() {
            "settled" => api.machine(app, id).await?.state().to_owned(),
            state => state.to_owned(),
        };
        Ok(context
            .out
            .line(&format!("Machine {id} reached state \"{reached}\""))?)
    }
}

/// Waits until a machine that was asked to start runs, or has run to its end already; with `checks`, until they pass.
///
/// # Errors
/// The machine failed, or `patience` has passed; the error says where to look.
pub(crate) async fn wait_until_started(
    api: &Api,
    app: &str,
    machine: &Machine,
    patience: Duration,
    checks: bool,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let id = machine.id();
    let until = Instant::now() + patience;
    let states = ["started", "stopped", "destroyed", "failed"];
    match api.wait_for(app, id, &states, patience).await {
        // A machine that removes itself may be gone before we look.
        Err(error) if error.status() == Some(404) && machine.is_auto_destroyed() => return Ok(()),
        outcome => outcome.map_err(|error| anyhow::Error::new(error).context(no_start(app, id)))?,
    }
    loop {
        let now = api.machine(app, id).await?;
        let counts = now.check_counts();
        match now.state() {
            "failed" => return Err(no_start(app, id).into()),
            "started" if checks && counts.passing < counts.total => {}
            _ => return Ok(()),
        }
        if Instant::now() > until {
            return Err(Failure::new(format!(
                "the checks of machine {id} do not pass: {}",
                counts.sentence()
            ))
            .remedy(format!(
                "See them with `{} machine status {id} --app {app}`.",
                program::name()
            ))
            .into());
        }
        progress.say(&format!(
            "Waiting for the checks of machine {id}: {}",
            counts.sentence()
        ));
        tokio::time::sleep(CHECK_PAUSE).await;
    }
}

fn no_start(app: &str, id: &str) -> Failure {
    let name = program::name();
    Failure::new(format!("machine {id} did not start")).remedy(format!(
        "See why with `{name} logs --app {app} --machine {id}` and `{name} machine status {id} --app {app}`."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_upstream_writes_them() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "soon", "-5s", "5 parsecs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}

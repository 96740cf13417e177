use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::context::Context;

use super::select::SomeMachines;

/// As long as a stop may take: the program's own time to end is at most five minutes.
const END_PATIENCE: Duration = Duration::from_secs(310);

#[derive(Args, Debug)]
pub(crate) struct Start {
    #[command(flatten)]
    machines: SomeMachines,
}

impl Start {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        for selected in self.machines.select(context, &api).await? {
            let id = selected.machine.id();
            let state = selected.machine.state();
            if matches!(state, "stopping" | "suspending") {
                context
                    .out
                    .note(&format!("Machine {id} is {state}; waiting for its end..."));
                api.wait_for(&selected.app, id, &["settled"], END_PATIENCE)
                    .await
                    .with_context(|| format!("machine {id} is still {state}"))?;
            }
            let started = api.machine_verb(&selected.app, id, "start").await;
            let answer = started.with_context(|| format!("could not start machine {id}"))?;
            let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
            if text("status") == "error" {
                bail!("machine {id} could not be started: {}", text("message"));
            }
            context.out.line(&format!("{id} has been started"))?;
        }
        Ok(())
    }
}

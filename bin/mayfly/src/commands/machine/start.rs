use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::context::Context;

use super::select::SomeMachines;

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

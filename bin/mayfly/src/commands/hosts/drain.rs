use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use mayfly_wire::{HostDrain, HostMove};

use super::change::say;
use crate::client::Api;
use crate::context::{Context, JsonFlag};

/// How often the host is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A machine is created on another host of the region, as the old one is configured; once it is up the old one gets
/// nothing new, finishes its requests, and is destroyed. Of an app one machine moves at a time. New machines have new
/// ids and private addresses. Machines that cannot move are named and run on.
///
/// The work goes on when this command is interrupted or the control plane restarts; call it again to follow, and to try
/// again what could not move.
#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// The host's id
    #[arg(value_name = "ID")]
    id: String,
    /// Do not wait for the machines to move
    #[arg(short, long, conflicts_with = "undo")]
    detach: bool,
    /// Use the host again, as `hosts undrain` does
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    json: JsonFlag,
}

/// Machines that have moved stay where they are; those that were about to stay on the host.
#[derive(Args, Debug)]
pub(crate) struct Undrain {
    /// The host's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    json: JsonFlag,
}

impl Drain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.undo {
            let Drain { id, json, .. } = self;
            return Undrain { id, json }.run(context).await;
        }
        let api = context.api()?;
        let mut drain = api.begin_host_drain(&self.id).await?;
        if !self.json.json {
            let line = format!("Host {} gets no new machines", self.id);
            context.out.line(&line)?;
        }
        if !self.detach {
            drain = self.follow(context, &api, drain).await?;
        }
        if self.json.json {
            context.out.json(&serde_json::to_value(&drain)?)?;
        }
        if self.detach {
            return Ok(());
        }
        if !drain.draining {
            bail!("host {} is not drained any more", self.id);
        }
        match of_state(&drain, "stays").count() {
            0 if self.json.json => Ok(()),
            0 => Ok(context.out.line(&format!("Host {} is empty", self.id))?),
            1 => bail!("1 machine stays on host {}", self.id),
            stays => bail!("{stays} machines stay on host {}", self.id),
        }
    }

    /// Says what changes until nothing moves or waits any more.
    async fn follow(
        &self,
        context: &Context,
        api: &Api,
        mut drain: HostDrain,
    ) -> anyhow::Result<HostDrain> {
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        loop {
            for machine in &drain.machines {
                let line = line(machine);
                if told.get(&machine.id) != Some(&line) {
                    if !self.json.json {
                        context.out.line(&line)?;
                    }
                    told.insert(machine.id.clone(), line);
                }
            }
            let open = ["waiting", "moving"]
                .iter()
                .any(|state| of_state(&drain, state).next().is_some());
            if !open || !drain.draining {
                return Ok(drain);
            }
            tokio::time::sleep(EVERY).await;
            drain = api.host_drain(&self.id).await?;
        }
    }
}

impl Undrain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let host = context.api()?.end_host_drain(&self.id).await?;
        say(context, self.json.json, &host, || {
            format!("Host {} gets new machines again", self.id)
        })
    }
}

fn of_state<'a>(drain: &'a HostDrain, state: &'a str) -> impl Iterator<Item = &'a HostMove> {
    let machines = drain.machines.iter();
    machines.filter(move |machine| machine.state == state)
}

fn line(machine: &HostMove) -> String {
    let HostMove { id, app, state, .. } = machine;
    let reason = machine.reason.as_deref();
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let by = machine.replacement.as_deref().unwrap_or_default();
    match state.as_str() {
        "moving" => format!("Machine {id} of {app} is being replaced by {by}{because}"),
        "moved" => format!("Machine {id} of {app} was replaced by {by}"),
        "stays" => format!("Machine {id} of {app} stays{because}"),
        _ => format!("Machine {id} of {app} waits{because}"),
    }
}

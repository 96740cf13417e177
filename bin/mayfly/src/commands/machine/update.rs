use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::client::Launch;
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::machine_config::{ConfigFlags, MachineConfig, set_command, words};
use crate::output::{Output, Progress};

use super::select::OneMachine;
use super::wait_until_started;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  machine update 3d8d7a11 --image nginx:1.27 --yes\n  machine update 3d8d7a11 \
                        --vm-memory 512 --env LOG_LEVEL=debug"
)]
pub(crate) struct Update {
    #[command(flatten)]
    machine: OneMachine,
    /// Image to run from now on
    #[arg(short, long)]
    image: Option<String>,
    /// Arguments for the image's program; empty for the image's own
    #[arg(short = 'C', long)]
    command: Option<String>,
    /// Change the configuration without starting the machine
    #[arg(long)]
    skip_start: bool,
    /// Do not wait for the machine's checks
    #[arg(long)]
    skip_health_checks: bool,
    /// Seconds the machine may take to run again
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    wait_timeout: u64,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Return as soon as the machine runs, without waiting for its checks
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Update {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let selected = self.machine.select(context, &api).await?;
        let (app, machine) = (&selected.app, &selected.machine);
        let id = machine.id();
        if !machine.is_reachable() {
            return Err(
                Failure::new("the machine is on an unreachable host, try again later").into(),
            );
        }
        let before = machine.config_copy();
        let config = self.changed(before.clone())?;
        if !self.yes && !confirm(&context.out, &before, &config)? {
            return Ok(context.out.line("No changes to apply")?);
        }
        let was_running = machine.state() == "started";
        let launch = Launch {
            name: Some(machine.name().to_owned()),
            region: Some(machine.region().to_owned()),
            skip_launch: config.contains_key("standbys") || self.skip_start,
            current_version: Some(machine.instance_id().to_owned()),
            config,
        };
        let mut progress = Progress::start(&context.out, &format!("Updating machine {id}"));
        let updated = api.update_machine(app, id, &launch).await;
        let updated = updated.with_context(|| format!("could not update machine {id}"))?;
        let patience = Duration::from_secs(self.wait_timeout);
        if launch.skip_launch {
            api.wait_for(app, id, &["settled"], patience).await?;
        } else {
            let checks = !self.skip_health_checks && !self.detach && was_running;
            wait_until_started(&api, app, &updated, patience, checks, &mut progress).await?;
        }
        drop(progress);
        if self.json.json {
            return Ok(context.out.json(api.machine(app, id).await?.document())?);
        }
        Ok(context
            .out
            .line(&format!("Machine {id} updated successfully!"))?)
    }

    fn changed(&self, mut config: MachineConfig) -> anyhow::Result<MachineConfig> {
        self.config.apply(&mut config)?;
        if let Some(command) = &self.command {
            let words = words(command, "--command")?;
            set_command(&mut config, Some(words).filter(|words| !words.is_empty()));
        }
        if let Some(image) = &self.image {
            self.config.set_image(&mut config, image)?;
        }
        Ok(config)
    }
}

/// Shows what would change and asks; without a change there is nothing to ask.
fn confirm(out: &Output, before: &MachineConfig, after: &MachineConfig) -> anyhow::Result<bool> {
    let mut changes = Vec::new();
    compare(
        "",
        &Value::from(before.clone()),
        &Value::from(after.clone()),
        &mut changes,
    );
    if changes.is_empty() {
        return Ok(false);
    }
    out.note("Configuration changes to be applied to the machine:");
    for change in &changes {
        out.note(&format!("  {change}"));
    }
    out.confirm("Apply changes?")
}

/// Lists `path: old → new` for everything that differs.
fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<String>) {
    match (before, after) {
        (one, other) if one == other => {}
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let side = |map: &MachineConfig| map.get(key).cloned().unwrap_or_default();
                compare(&path, &side(old), &side(new), changes);
            }
        }
        (Value::Null, new) => changes.push(format!("{path}: {new}")),
        (old, Value::Null) => changes.push(format!("{path}: {old} is removed")),
        (old, new) => changes.push(format!("{path}: {old} → {new}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_named_by_their_path() {
        let before =
            json!({ "image": "a", "guest": { "cpus": 1, "memory_mb": 256 }, "env": { "A": "1" } });
        let after = json!({ "image": "b", "guest": { "cpus": 1, "memory_mb": 512 }, "init": { "cmd": ["x"] } });
        let mut changes = Vec::new();
        compare("", &before, &after, &mut changes);
        assert_eq!(
            changes,
            [
                "image: \"a\" → \"b\"",
                "guest.memory_mb: 256 → 512",
                "env: {\"A\":\"1\"} is removed",
                "init: {\"cmd\":[\"x\"]}",
            ]
        );
    }
}

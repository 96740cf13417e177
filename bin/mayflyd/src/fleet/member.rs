//! A server that joins a fleet, and one that was removed from it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mayfly_fleet::{Membership, Standing};
use mayfly_fleet_api::Hello;
use mayfly_host::Host;
use mayfly_host_api::{Actor, HostApi};
use mayfly_runtime::{Stop, report};
use tokio::sync::watch;
use tracing::{error, warn};

use crate::fleet_config::FleetSettings;

const JOIN_AGAIN: Duration = Duration::from_secs(2);

/// Joins; a fleet that is not reached yet is asked again, one that refuses is not.
pub(super) async fn join(
    settings: &FleetSettings,
    place: &Path,
    hello: &Hello,
) -> anyhow::Result<Membership> {
    let join = settings
        .join
        .as_ref()
        .context("this server is of no fleet: start it with --join ADDRESS:PORT")?;
    let token = join.token.as_ref().context(
        "joining needs a token: run `mayfly hosts token` on the first server, then start with --join-token TOKEN (or join.token_file)",
    )?;
    let mut tries = 0;
    loop {
        match Membership::join(place, &join.address, token, hello.clone()).await {
            Ok(membership) => return Ok(membership),
            Err(problem) if problem.kind().is_transient() && tries < 10 => {
                warn!(error = report(&problem), "not joined yet");
            }
            Err(problem) => return Err(problem).context("join the fleet"),
        }
        tries += 1;
        tokio::time::sleep(JOIN_AGAIN).await;
    }
}

/// Destroys the machines of this server once its operator has removed it from the fleet: they were given up there, and
/// nothing may run that nobody knows of.
pub(super) async fn obey_removal(
    mut standing: watch::Receiver<Standing>,
    hosts: Vec<Host>,
    stop: Stop,
) {
    loop {
        let removed = tokio::select! {
            () = stop.cancelled() => return,
            removed = standing.wait_for(|standing| *standing == Standing::Removed) => removed.is_ok(),
        };
        if !removed {
            return;
        }
        error!("this server was removed from the fleet: its machines are destroyed");
        for host in &hosts {
            let catalog = host.catalog().borrow().clone();
            for entry in catalog.iter() {
                let machine = entry.machine_id;
                if let Err(problem) = host.destroy(machine, true, Actor::Platform).await {
                    error!(machine_id = %machine, error = report(&problem), "not destroyed");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_control_store::{Machine, StoreError};
use mayfly_host_api::{HostError, MachineReport};
use mayfly_machine::{Actor, MachineState};
use mayfly_runtime::{Backoff, LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{HostSeq, MachineId};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::cloud::Cloud;

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    most: Duration::from_secs(30),
};

/// How long a host's word may take to arrive here before the machine is looked at again.
const READ_BACK: Duration = Duration::from_secs(5);

/// Machines of which it is not known whether their host took the last thing it was asked for.
#[derive(Clone, Default)]
pub(crate) struct Doubts {
    machines: Arc<Mutex<BTreeSet<MachineId>>>,
    news: Arc<Notify>,
}

impl Doubts {
    pub(crate) fn add(&self, machine: MachineId) {
        self.set().insert(machine);
        self.news.notify_one();
    }

    fn set(&self) -> std::sync::MutexGuard<'_, BTreeSet<MachineId>> {
        self.machines.lock().expect("no holder of this lock panics")
    }
}

/// Why a doubt remains.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error("ask the host")]
    Host(#[from] HostError),
    #[error("look into the store")]
    Store(#[from] StoreError),
    #[error("the host's reports up to {0:?} have not arrived")]
    Late(HostSeq),
}

/// Finishes or undoes what a crash or an unreachable host left half-way.
///
/// A caller is answered only after the host has journaled its wish. So what the host has was wanted and stays; what it
/// does not have was never promised to anybody and is undone. Doubts at the start are the machines whose wanted
/// version their host has not reported; later ones are added by operations whose call to the host failed.
pub(crate) async fn settle(cloud: Arc<Cloud>, board: LoopHandle, stop: Stop) {
    let mut failures = 0;
    loop {
        let open: Vec<MachineId> = cloud.doubts.set().iter().copied().collect();
        let mut status = LoopStatus {
            ran_at: Some(cloud.now()),
            ..LoopStatus::default()
        };
        for machine in open {
            match settle_one(&cloud, machine).await {
                Ok(()) => {
                    cloud.doubts.set().remove(&machine);
                    status.applied += 1;
                }
                Err(error) => {
                    warn!(machine_id = %machine, error = report(&error), "a doubt remains");
                    status.waiting += 1;
                    status.last_error = Some(report(&error));
                }
            }
        }
        failures = if status.waiting > 0 { failures + 1 } else { 0 };
        let retry = status.waiting > 0;
        board.publish(status);
        tokio::select! {
            () = stop.cancelled() => return,
            () = cloud.doubts.news.notified() => {}
            () = tokio::time::sleep(RETRY.pause(failures)), if retry => {}
        }
    }
}

async fn settle_one(cloud: &Cloud, id: MachineId) -> Result<(), SettleError> {
    let machine = match cloud.store.machine(id).await {
        Ok(machine) => machine,
        Err(StoreError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match cloud.host_of(&machine)?.report(id).await {
        Ok(found) => settle_found(cloud, &machine, found).await,
        Err(HostError::UnknownMachine(_)) => {
            if machine.destroyed_at.is_none() {
                info!(machine_id = %id, "a machine its host does not have is abandoned");
                let reason = "its creation was interrupted".to_owned();
                cloud
                    .store
                    .abandon_machine(id, reason, cloud.by_platform())
                    .await?;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn settle_found(
    cloud: &Cloud,
    machine: &Machine,
    found: MachineReport,
) -> Result<(), SettleError> {
    if machine.destroyed_at.is_some() {
        if found.state != MachineState::Destroyed {
            info!(machine_id = %machine.id, "a machine that was given up is destroyed on its host");
            let host = cloud.host_of(machine)?;
            host.destroy(machine.id, true, Actor::Platform).await?;
        }
        return Ok(());
    }
    let (host, seq) = (found.host_id, found.seq);
    // The store must know what the host has before it can tell what the host lacks.
    if !cloud.store.wait_applied(host, seq, READ_BACK).await? {
        return Err(SettleError::Late(seq));
    }
    if found.instance_id != machine.instance_id {
        info!(machine_id = %machine.id, "an update its host did not take is undone");
        cloud
            .store
            .revert_machine(machine.id, machine.instance_id, cloud.by_platform())
            .await?;
    }
    Ok(())
}

use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::Machine;
use mayfly_host_api::StopMachine;
use mayfly_machine::{Actor, MachineState};
use mayfly_types::Timestamp;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::releases::DRAIN;

impl Cloud {
    /// Takes the next step of ending a machine without disturbing anybody: it gets nothing new, finishes what it has begun,
    /// and is stopped by its own rule. True once it rests. `since` is when this began; what is done already is not done
    /// again.
    pub(crate) async fn wind_down(
        self: &Arc<Self>,
        machine: &Machine,
        since: Timestamp,
    ) -> Result<bool, ApiError> {
        let host = self.host_of(machine)?;
        if !machine.cordoned {
            let report = host.cordon(machine.id, true, Actor::Platform).await?;
            self.read_back(machine.id, &report).await?;
            return Ok(false);
        }
        let finishing = match machine.spec.services.is_empty() {
            true => Duration::ZERO,
            false => DRAIN,
        };
        match machine.state {
            MachineState::Started if self.now().since(since) < finishing => Ok(false),
            // It was asked, and has its own patience.
            MachineState::Stopping | MachineState::Destroying => Ok(false),
            MachineState::Stopped
            | MachineState::Failed
            | MachineState::LaunchFailed
            | MachineState::Suspended
            | MachineState::Created => Ok(true),
            _ => {
                let request = StopMachine::by_rule(Actor::Platform);
                host.stop(machine.id, request).await?;
                Ok(false)
            }
        }
    }
}

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The word the Machines API shows for a machine's phase: <https://fly.io/docs/machines/machine-states/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    Created,
    Creating,
    Starting,
    Started,
    Stopping,
    Stopped,
    Suspending,
    Suspended,
    Restarting,
    Updating,
    Replacing,
    LaunchFailed,
    Failed,
    Destroying,
    Destroyed,
}

impl MachineState {
    pub const ALL: [MachineState; 15] = [
        MachineState::Created,
        MachineState::Creating,
        MachineState::Starting,
        MachineState::Started,
        MachineState::Stopping,
        MachineState::Stopped,
        MachineState::Suspending,
        MachineState::Suspended,
        MachineState::Restarting,
        MachineState::Updating,
        MachineState::Replacing,
        MachineState::LaunchFailed,
        MachineState::Failed,
        MachineState::Destroying,
        MachineState::Destroyed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            MachineState::Created => "created",
            MachineState::Creating => "creating",
            MachineState::Starting => "starting",
            MachineState::Started => "started",
            MachineState::Stopping => "stopping",
            MachineState::Stopped => "stopped",
            MachineState::Suspending => "suspending",
            MachineState::Suspended => "suspended",
            MachineState::Restarting => "restarting",
            MachineState::Updating => "updating",
            MachineState::Replacing => "replacing",
            MachineState::LaunchFailed => "launch_failed",
            MachineState::Failed => "failed",
            MachineState::Destroying => "destroying",
            MachineState::Destroyed => "destroyed",
        }
    }

    /// Whether a machine stays in this state until somebody acts or its guest ends: what `wait?state=settled` means.
    pub const fn is_settled(self) -> bool {
        matches!(
            self,
            MachineState::Created
                | MachineState::Started
                | MachineState::Stopped
                | MachineState::Suspended
                | MachineState::Failed
                | MachineState::Destroyed
        )
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MachineState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        MachineState::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

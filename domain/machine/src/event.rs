use std::time::Duration;

use mayfly_types::LaunchId;

use crate::{
    Actor, CheckTurn, Exit, GuestRef, Happening, Launch, Machine, MachineState, RunChange,
    SessionNote, Signal, Version, VolumeNote,
};

/// Something a machine reacts to.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    // What somebody asks for.
    Start {
        by: Actor,
    },
    Stop {
        signal: Option<Signal>,
        patience: Option<Duration>,
        by: Actor,
    },
    Restart {
        force: bool,
        signal: Option<Signal>,
        patience: Option<Duration>,
        by: Actor,
    },
    Suspend {
        by: Actor,
    },
    Update {
        version: Box<Version>,
        launch: Launch,
        by: Actor,
    },
    Cordon {
        cordoned: bool,
        by: Actor,
    },
    Destroy {
        kill: bool,
        by: Actor,
    },

    // What effects came to.
    Prepared,
    PrepareFailed {
        fault: Fault,
        reason: String,
    },
    Launched {
        guest: GuestRef,
    },
    LaunchFailed {
        launch_id: LaunchId,
        fault: Fault,
        reason: String,
    },
    Signalled {
        launch_id: LaunchId,
    },
    Frozen {
        launch_id: LaunchId,
    },
    FreezeFailed {
        launch_id: LaunchId,
    },
    Thawed {
        launch_id: LaunchId,
    },
    Exited {
        launch_id: LaunchId,
        exit: Exit,
    },
    Cleaned,
    Removed,

    // What was found after a restart of the supervisor or when nobody knew.
    Observed {
        body: Body,
    },
    /// The host was booted since the phase was stored, and the guest's end is not on record.
    Rebooted,
    /// A check of the running guest has another status.
    CheckTurned(CheckTurn),
    /// Somebody began a session in the guest.
    SessionBegan(SessionNote),
    /// A volume was repaired on the way to a launch.
    VolumeRepaired(VolumeNote),
    /// Time has passed: deadlines are looked at.
    Tick,
}

/// Whose fault a failure is, which decides whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine's program, files or image: it fails again.
    Guest,
    /// The host or the network: it may work later.
    Host,
}

/// What there is of a guest.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Absent,
    Running(GuestRef),
    Frozen(GuestRef),
    Exited { launch_id: LaunchId, exit: Exit },
}

/// Something to do to the guest. Every effect may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make directories and network place; fetch the images if `images`.
    Prepare {
        images: bool,
    },
    Launch {
        launch_id: LaunchId,
    },
    /// Look whether the guest of an interrupted launch exists.
    Observe,
    Signal {
        launch_id: LaunchId,
        signal: Signal,
    },
    Kill {
        launch_id: LaunchId,
    },
    Freeze {
        launch_id: LaunchId,
    },
    Thaw {
        launch_id: LaunchId,
    },
    Clean,
    Remove,
    /// Wait until the guest has ended. Goes on beside the others.
    Watch {
        launch_id: LaunchId,
    },
}

/// What follows from an event: stored first, performed second.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub next: Machine,
    pub happenings: Vec<Happening>,
    pub runs: Vec<RunChange>,
}

/// A request that the phase forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("machine is {state}, which does not allow this; it must be {wanted}")]
    NotIn {
        state: MachineState,
        wanted: &'static str,
    },
    #[error("another update is in progress")]
    UpdateInProgress,
}

use std::collections::BTreeMap;

use mayfly_guest::{ContainerLaunch, ContainerState, ProcessLaunch};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock::Moment;
use crate::init::Outputs;
use crate::init::health::{CheckState, Verdict};
use crate::init::program::Program;
use crate::init::root::ContainerRoot;
use crate::init::rules::End;

/// ```text
///            dependencies met           first process ends            last process gone
///  Waiting ───────────────────► Up ───────────────────────► Stopping ───────────────────► Ended
///     │                          ▲     or stop, or unhealthy                 │
///     └── can never be met ──► Ended            Paused ◄── restart is due ───┘
///                                └── delay over ──┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting,
    Up,
    /// Its processes were asked to end; they are killed at `kill_at`.
    Stopping {
        kill_at: Moment,
    },
    /// Runs again at this moment.
    Paused {
        until: Moment,
    },
    Ended,
}

pub(super) struct Container<'a> {
    pub(super) launch: &'a ContainerLaunch,
    pub(super) root: ContainerRoot,
    pub(super) outputs: Vec<Option<Outputs>>,
    pub(super) phase: Phase,
    /// Processes that live, by their place in `launch.processes`.
    pub(super) alive: BTreeMap<usize, Pid>,
    /// How the first process ended last.
    pub(super) end: Option<End>,
    /// Killed since it was asked to stop.
    pub(super) killed: bool,
    pub(super) retries: u32,
    pub(super) checks: Vec<CheckState>,
}

impl Container<'_> {
    pub(super) fn signal(&self, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else {
            return;
        };
        for pid in self.alive.values() {
            let _ = kill_process(*pid, signal);
        }
    }

    /// Runs and passes all its checks.
    pub(super) fn is_healthy(&self) -> bool {
        self.phase == Phase::Up
            && self
                .checks
                .iter()
                .all(|check| check.verdict == Verdict::Passing)
    }

    pub(super) fn state(&self) -> ContainerState {
        let failing = self
            .checks
            .iter()
            .any(|check| check.verdict == Verdict::Failing);
        let state = match self.phase {
            Phase::Waiting | Phase::Paused { .. } => "waiting",
            Phase::Ended => "exited",
            Phase::Up if failing => "unhealthy",
            Phase::Up if !self.checks.is_empty() && self.is_healthy() => "healthy",
            Phase::Up | Phase::Stopping { .. } => "running",
        };
        let exit_code = match (self.phase, self.end) {
            (Phase::Ended | Phase::Paused { .. }, Some(End::Code(code))) => Some(code),
            (Phase::Ended | Phase::Paused { .. }, Some(End::Signal(signal))) => Some(128 + signal),
            _ => None,
        };
        ContainerState {
            name: self.launch.name.clone(),
            state: state.to_owned(),
            exit_code,
        }
    }
}

pub(super) fn program(launch: &ProcessLaunch) -> Program {
    Program {
        argv: launch.argv.clone(),
        env: launch.env.clone(),
        cwd: launch.cwd.clone(),
        user: launch.user.clone(),
    }
}

//! The one function that moves a machine from phase to phase.

mod observations;
mod requests;

use std::time::Duration;

use mayfly_types::{LaunchId, Timestamp};

use crate::{
    Actor, AfterStop, Cause, Decision, Event, EventKind, Exit, ExitEvent, Happening, Machine,
    Phase, Refusal, RunChange, Tries, Verdict,
};

/// How long a machine whose first launch failed stays for inspection.
pub const LAUNCH_FAILED_KEPT: Duration = Duration::from_secs(300);

/// Decides what an event means for a machine. Repeating a request that was granted changes nothing; an observation that
/// is out of date (of another launch, say) changes nothing either.
///
/// # Errors
/// A request the phase forbids; observations are never refused.
pub fn step(machine: &Machine, event: Event, now: Timestamp) -> Result<Decision, Refusal> {
    let mut turn = Turn {
        machine: machine.clone(),
        now,
        happenings: Vec::new(),
        runs: Vec::new(),
    };
    match event {
        Event::Start { .. }
        | Event::Stop { .. }
        | Event::Restart { .. }
        | Event::Suspend { .. }
        | Event::Update { .. }
        | Event::Cordon { .. }
        | Event::Destroy { .. } => turn.request(event)?,
        other => turn.observe(other),
    }
    if turn.machine.state() != machine.state() {
        turn.machine.since = now;
    }
    Ok(Decision {
        next: turn.machine,
        happenings: turn.happenings,
        runs: turn.runs,
    })
}

/// A decision in the making.
struct Turn {
    machine: Machine,
    now: Timestamp,
    happenings: Vec<Happening>,
    runs: Vec<RunChange>,
}

impl Turn {
    fn say(&mut self, kind: EventKind, by: Actor) {
        self.happenings.push(Happening { kind, by });
    }

    fn begin_launch(&mut self, cause: Cause, by: Actor) {
        let launch_id = self.machine.next_launch();
        self.machine.phase = Phase::Starting {
            launch_id,
            cause,
            tries: Tries::default(),
            by,
        };
    }

    /// The guest's end becomes part of the history and, when no restart follows, of the schedule's.
    fn report_exit(&mut self, exit: &Exit, requested_stop: bool, restarting: bool, by: Actor) {
        let restart_count = self.machine.restarts;
        let event = ExitEvent {
            exit_code: exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or(9)),
            guest_exit_code: exit.code.unwrap_or(0),
            guest_signal: exit.signal.unwrap_or(-1),
            oom_killed: exit.oom_killed,
            requested_stop,
            restarting,
            signal: exit.signal.unwrap_or(-1),
            exited_at: exit.at,
            restart_count,
        };
        self.say(EventKind::Exit(event), by);
        if !restarting {
            self.end_run(|due_at| RunChange::Exited {
                due_at,
                exit_code: exit.code,
            });
        }
    }

    fn end_run(&mut self, change: impl FnOnce(Timestamp) -> RunChange) {
        if let Some(timetable) = &mut self.machine.timetable
            && let Some(due_at) = timetable.running.take()
        {
            self.runs.push(change(due_at));
        }
    }

    /// The guest ended by itself: the restart policy decides.
    fn ended_by_itself(&mut self, exit: Exit, started_at: Timestamp) {
        let spec = &self.machine.version.spec;
        let verdict = spec
            .restart
            .verdict(&exit, started_at, self.machine.restarts);
        match verdict {
            Verdict::Restart { at, count } => {
                self.machine.restarts = count;
                self.report_exit(&exit, false, true, Actor::Platform);
                self.machine.phase = Phase::Restarting {
                    due_at: at,
                    cleaned: false,
                };
            }
            Verdict::Stay | Verdict::GiveUp { .. } => {
                self.report_exit(&exit, false, false, Actor::Platform);
                self.rest(Some(exit), Actor::Platform);
            }
        }
    }

    /// The machine stays without a guest: stopped, or gone if it was to destroy itself.
    fn rest(&mut self, exit: Option<Exit>, by: Actor) {
        self.machine.phase = if self.machine.version.spec.auto_destroy && exit.is_some() {
            Phase::Destroying { by }
        } else {
            Phase::Stopped {
                at: self.now,
                exit,
                cleaned: false,
            }
        };
    }

    /// After a requested end.
    fn follow(&mut self, then: AfterStop, exit: Option<Exit>, by: Actor) {
        match then {
            AfterStop::Stop => self.rest(exit, by),
            AfterStop::Restart => self.begin_launch(Cause::Restart, by),
            AfterStop::Update => self.begin_launch(Cause::Update, by),
            AfterStop::Destroy => self.machine.phase = Phase::Destroying { by },
        }
    }

    fn could_not_start(&mut self, reason: String, cause: Cause) {
        self.end_run(|due_at| RunChange::Failed { due_at });
        self.say(
            EventKind::LaunchFailed {
                reason: reason.clone(),
            },
            Actor::Platform,
        );
        let at = self.now;
        self.machine.phase = if cause == Cause::Create {
            Phase::LaunchFailed {
                at,
                reason,
                destroy_at: at + LAUNCH_FAILED_KEPT,
                cleaned: false,
            }
        } else {
            Phase::Failed {
                at,
                reason,
                cleaned: false,
            }
        };
    }

    fn is_launch(&self, launch_id: LaunchId) -> bool {
        self.machine.phase.launch_id() == Some(launch_id)
    }
}

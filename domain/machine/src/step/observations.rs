use std::time::Duration;

use mayfly_types::Timestamp;

use super::Turn;
use crate::{
    Actor, Body, Cause, Event, EventKind, Exit, Fault, GuestRef, Launch, Phase, RunChange,
    Schedule, Tries,
};

/// Tries of a launch or an image that fails for the host's reasons: some two minutes in all.
const TRIES_MAX: u32 = 7;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(60);

impl Turn {
    pub(super) fn observe(&mut self, event: Event) {
        match event {
            Event::Prepared => self.prepared(),
            // Of the guest that runs; what an ended one's last probe saw is of no interest.
            Event::CheckTurned(turn) if matches!(self.machine.phase, Phase::Started { .. }) => {
                self.say(EventKind::Check(turn), Actor::Platform);
            }
            Event::SessionBegan(note) => self.say(EventKind::Session(note), Actor::Platform),
            Event::VolumeRepaired(note) => {
                self.say(EventKind::VolumeRepaired(note), Actor::Platform);
            }
            Event::PrepareFailed { fault, reason } => self.prepare_failed(fault, reason),
            Event::Launched { guest } => self.launched(guest),
            Event::LaunchFailed {
                launch_id,
                fault,
                reason,
            } if self.is_launch(launch_id) => self.launch_failed(fault, reason),
            Event::Signalled { launch_id } if self.is_launch(launch_id) => {
                if let Phase::Stopping { asked, .. } = &mut self.machine.phase {
                    *asked = true;
                }
            }
            Event::Frozen { launch_id } if self.is_launch(launch_id) => {
                if let Phase::Suspending { guest, by } = self.machine.phase {
                    self.machine.phase = Phase::Suspended {
                        guest,
                        at: self.now,
                    };
                    self.say(EventKind::Suspend, by);
                }
            }
            // Part of the guest may be frozen: thawing makes it whole again.
            Event::FreezeFailed { launch_id } if self.is_launch(launch_id) => {
                if let Phase::Suspending { guest, .. } = self.machine.phase {
                    self.machine.phase = Phase::Resuming {
                        guest,
                        by: Actor::Platform,
                    };
                }
            }
            Event::Thawed { launch_id } if self.is_launch(launch_id) => {
                if let Phase::Resuming { guest, by } = self.machine.phase {
                    self.machine.phase = Phase::Started { guest };
                    self.say(EventKind::Resume, by);
                }
            }
            Event::Exited { launch_id, exit } if self.is_launch(launch_id) => self.exited(exit),
            Event::Cleaned => match &mut self.machine.phase {
                Phase::Restarting { cleaned, .. }
                | Phase::Stopped { cleaned, .. }
                | Phase::Failed { cleaned, .. }
                | Phase::LaunchFailed { cleaned, .. } => *cleaned = true,
                _ => {}
            },
            Event::Removed => {
                if let Phase::Destroying { by } = self.machine.phase {
                    self.machine.phase = Phase::Destroyed { at: self.now };
                    self.machine.timetable = None;
                    self.say(EventKind::Destroy, by);
                }
            }
            Event::Observed { body } => self.found(body),
            Event::Rebooted => self.rebooted(),
            Event::Tick => self.tick(),
            _ => {}
        }
    }

    fn prepared(&mut self) {
        match self.machine.phase {
            Phase::Creating {
                then: Launch::Now,
                by,
                ..
            } => self.begin_launch(Cause::Create, by),
            Phase::Creating {
                then: Launch::Skip, ..
            } => {
                self.machine.phase = Phase::Stopped {
                    at: self.now,
                    exit: None,
                    cleaned: true,
                };
            }
            // The running guest was started by the previous version's rule and is asked to end by it.
            Phase::Updating {
                guest,
                ref previous,
                by,
                ..
            } => {
                let rule = previous.spec.stop;
                self.machine.phase = Phase::Stopping {
                    launch_id: guest.launch_id,
                    guest: Some(guest),
                    signal: rule.signal,
                    asked: false,
                    kill_at: self.now + rule.patience,
                    then: crate::AfterStop::Update,
                    by,
                };
            }
            _ => {}
        }
    }

    /// Counts a failure; true if it is to be tried again.
    fn again(tries: &mut Tries, fault: Fault, now: Timestamp) -> bool {
        tries.failed += 1;
        let pause = PAUSE_FIRST
            .saturating_mul(2u32.saturating_pow(tries.failed - 1))
            .min(PAUSE_MOST);
        tries.next_at = now + pause;
        fault == Fault::Host && tries.failed < TRIES_MAX
    }

    fn prepare_failed(&mut self, fault: Fault, reason: String) {
        let now = self.now;
        let (Phase::Creating { tries, .. } | Phase::Updating { tries, .. }) =
            &mut self.machine.phase
        else {
            return;
        };
        if Self::again(tries, fault, now) {
            return;
        }
        // Undone: the previous version's guest never stopped.
        if let Phase::Updating {
            guest, previous, ..
        } = &self.machine.phase
        {
            let guest = *guest;
            self.machine.version = (**previous).clone();
            self.machine.phase = Phase::Started { guest };
            self.machine.plan_schedule(now);
            self.say(EventKind::LaunchFailed { reason }, Actor::Platform);
        } else {
            self.could_not_start(reason, Cause::Create);
        }
    }

    fn launched(&mut self, guest: GuestRef) {
        if !self.is_launch(guest.launch_id) {
            return;
        }
        match &mut self.machine.phase {
            Phase::Starting { by, .. } => {
                let by = *by;
                self.machine.phase = Phase::Started { guest };
                self.machine.rootfs_of = self.machine.images();
                self.say(EventKind::Start, by);
            }
            Phase::Stopping { guest: found, .. } => *found = Some(guest),
            _ => {}
        }
    }

    /// A machine that is already stopping looks for what the failed launch may have left.
    fn launch_failed(&mut self, fault: Fault, reason: String) {
        let now = self.now;
        if let Phase::Starting { tries, cause, .. } = &mut self.machine.phase {
            let cause = *cause;
            if !Self::again(tries, fault, now) {
                self.could_not_start(reason, cause);
            }
        }
    }

    fn exited(&mut self, exit: Exit) {
        match &self.machine.phase {
            Phase::Starting { cause, by, .. } => {
                let (cause, by) = (*cause, *by);
                match exit.failure.clone() {
                    Some(reason) => self.could_not_start(reason, cause),
                    None => {
                        self.machine.rootfs_of = self.machine.images();
                        self.say(EventKind::Start, by);
                        let started_at = exit.at;
                        self.ended_by_itself(exit, started_at);
                    }
                }
            }
            Phase::Started { guest }
            | Phase::Suspending { guest, .. }
            | Phase::Resuming { guest, .. } => {
                let started_at = guest.started_at;
                self.ended_by_itself(exit, started_at);
            }
            Phase::Suspended { .. } => {
                self.report_exit(&exit, false, false, Actor::Platform);
                self.rest(Some(exit), Actor::Platform);
            }
            Phase::Updating { by, .. } => {
                let by = *by;
                self.report_exit(&exit, false, true, Actor::Platform);
                self.begin_launch(Cause::Update, by);
            }
            Phase::Stopping { then, by, .. } => {
                let (then, by) = (*then, *by);
                let restarting =
                    matches!(then, crate::AfterStop::Restart | crate::AfterStop::Update);
                self.report_exit(&exit, true, restarting, by);
                self.follow(then, Some(exit), by);
            }
            _ => {}
        }
    }

    /// What a look at the driver says about the phase. A launch that is still wanted simply happens.
    fn found(&mut self, body: Body) {
        match body {
            Body::Exited { launch_id, exit } => {
                if self.is_launch(launch_id) {
                    self.exited(exit);
                } else {
                    self.found(Body::Absent);
                }
            }
            Body::Running(guest) if self.is_launch(guest.launch_id) => match self.machine.phase {
                Phase::Suspended { guest, .. } => {
                    self.machine.phase = Phase::Suspending {
                        guest,
                        by: Actor::Platform,
                    };
                }
                _ => self.launched(guest),
            },
            Body::Frozen(guest) if self.is_launch(guest.launch_id) => match self.machine.phase {
                Phase::Started { guest } => {
                    self.machine.phase = Phase::Resuming {
                        guest,
                        by: Actor::Platform,
                    };
                }
                Phase::Stopping { .. } => self.launched(guest),
                _ => {}
            },
            Body::Running(_) | Body::Frozen(_) | Body::Absent => match self.machine.phase {
                Phase::Started { .. }
                | Phase::Suspending { .. }
                | Phase::Suspended { .. }
                | Phase::Resuming { .. }
                | Phase::Updating { .. }
                | Phase::Stopping { guest: Some(_), .. } => self.exited(Exit::unseen(self.now)),
                Phase::Stopping {
                    guest: None,
                    then,
                    by,
                    ..
                } => self.follow(then, None, by),
                _ => {}
            },
        }
    }

    fn rebooted(&mut self) {
        match self.machine.phase {
            Phase::Started { .. } | Phase::Resuming { .. } => {
                self.begin_launch(Cause::Boot, Actor::Platform);
            }
            Phase::Suspending { .. } | Phase::Suspended { .. } => {
                self.machine.phase = Phase::Stopped {
                    at: self.now,
                    exit: None,
                    cleaned: false,
                };
                self.say(EventKind::Stop, Actor::Platform);
            }
            Phase::Updating { by, .. } => self.begin_launch(Cause::Update, by),
            Phase::Stopping { then, by, .. } => {
                let exit = Exit::unseen(self.now);
                self.report_exit(&exit, true, false, by);
                self.follow(then, Some(exit), by);
            }
            _ => {}
        }
    }

    fn tick(&mut self) {
        match self.machine.phase {
            Phase::Restarting { due_at, .. } if self.now >= due_at => {
                self.begin_launch(Cause::Policy, Actor::Platform);
            }
            Phase::LaunchFailed { destroy_at, .. } if self.now >= destroy_at => {
                self.machine.phase = Phase::Destroying {
                    by: Actor::Platform,
                };
            }
            _ => {}
        }
        self.schedule_due();
    }

    fn schedule_due(&mut self) {
        let is_gone = matches!(
            self.machine.phase,
            Phase::Destroying { .. } | Phase::Destroyed { .. }
        );
        let Some(timetable) = self.machine.timetable.filter(|_| !is_gone) else {
            return;
        };
        if self.now < timetable.next_at {
            return;
        }
        let due_at = timetable.next_at;
        // Runs missed while the host was down are one run.
        self.machine.timetable = self
            .machine
            .version
            .spec
            .schedule
            .as_deref()
            .and_then(|text| text.parse::<Schedule>().ok())
            .and_then(|schedule| schedule.next_after(self.now, self.machine.identity.created_at))
            .map(|next_at| crate::Timetable {
                next_at,
                ..timetable
            });
        let can_start = matches!(
            self.machine.phase,
            Phase::Stopped { .. } | Phase::Failed { .. }
        );
        if !can_start {
            self.runs.push(RunChange::Skipped { due_at });
            return;
        }
        self.runs.push(RunChange::Started { due_at });
        if let Some(timetable) = &mut self.machine.timetable {
            timetable.running = Some(due_at);
        }
        self.machine.restarts = 0;
        self.begin_launch(Cause::Schedule, Actor::Platform);
    }
}

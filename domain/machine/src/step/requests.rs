use std::time::Duration;

use mayfly_types::Timestamp;

use super::Turn;
use crate::{
    Actor, AfterStop, Cause, Event, EventKind, Launch, Phase, Refusal, Signal, Tries, Version,
};

/// How a guest is asked to end.
#[derive(Clone, Copy)]
struct Asking {
    signal: Signal,
    patience: Duration,
    by: Actor,
}

impl Turn {
    pub(super) fn request(&mut self, event: Event) -> Result<(), Refusal> {
        match event {
            Event::Start { by } => self.start(by),
            Event::Stop {
                signal,
                patience,
                by,
            } => {
                let asking = self.asking(signal, patience, by);
                self.stop(asking)
            }
            Event::Restart {
                force,
                signal,
                patience,
                by,
            } => {
                let patience = if force {
                    Some(Duration::ZERO)
                } else {
                    patience
                };
                let asking = self.asking(signal, patience, by);
                self.restart(asking)
            }
            Event::Suspend { by } => self.suspend(by),
            Event::Update {
                version,
                launch,
                by,
            } => self.update(*version, launch, by),
            Event::Cordon { cordoned, .. } => self.cordon(cordoned),
            Event::Destroy { kill, by } => self.destroy(kill, by),
            _ => Ok(()),
        }
    }

    fn asking(&self, signal: Option<Signal>, patience: Option<Duration>, by: Actor) -> Asking {
        let rule = self.machine.version.spec.stop;
        Asking {
            signal: signal.unwrap_or(rule.signal),
            patience: patience.unwrap_or(rule.patience),
            by,
        }
    }

    fn refuse(&self, wanted: &'static str) -> Refusal {
        Refusal::NotIn {
            state: self.machine.state(),
            wanted,
        }
    }

    fn start(&mut self, by: Actor) -> Result<(), Refusal> {
        match &mut self.machine.phase {
            Phase::Creating { then, .. } => *then = Launch::Now,
            Phase::Starting { .. }
            | Phase::Started { .. }
            | Phase::Resuming { .. }
            | Phase::Updating { .. } => {}
            Phase::Suspending { guest, .. } | Phase::Suspended { guest, .. } => {
                self.machine.phase = Phase::Resuming { guest: *guest, by };
            }
            Phase::Stopped { .. }
            | Phase::Failed { .. }
            | Phase::LaunchFailed { .. }
            | Phase::Restarting { .. } => {
                self.machine.restarts = 0;
                self.begin_launch(Cause::Start, by);
            }
            Phase::Stopping { .. } | Phase::Destroying { .. } | Phase::Destroyed { .. } => {
                return Err(self.refuse("created, stopped, suspended or failed"));
            }
        }
        Ok(())
    }

    fn stop(&mut self, asking: Asking) -> Result<(), Refusal> {
        let by = asking.by;
        match &mut self.machine.phase {
            Phase::Creating { then, .. } => {
                *then = Launch::Skip;
                self.end_run(|due_at| crate::RunChange::Exited {
                    due_at,
                    exit_code: None,
                });
            }
            Phase::Stopped { .. } => {}
            Phase::Restarting { cleaned, .. }
            | Phase::Failed { cleaned, .. }
            | Phase::LaunchFailed { cleaned, .. } => {
                self.machine.phase = Phase::Stopped {
                    at: self.now,
                    exit: None,
                    cleaned: *cleaned,
                };
                self.end_run(|due_at| crate::RunChange::Exited {
                    due_at,
                    exit_code: None,
                });
                self.say(EventKind::Stop, by);
            }
            Phase::Stopping { then, kill_at, .. } if *then != AfterStop::Destroy => {
                *kill_at = (*kill_at).min(self.now + asking.patience);
                if *then != AfterStop::Stop {
                    *then = AfterStop::Stop;
                    self.say(EventKind::Stop, by);
                }
            }
            Phase::Stopping { .. } | Phase::Destroying { .. } | Phase::Destroyed { .. } => {
                return Err(self.refuse("created, started, suspended or stopped"));
            }
            Phase::Starting { .. }
            | Phase::Started { .. }
            | Phase::Suspending { .. }
            | Phase::Suspended { .. }
            | Phase::Resuming { .. }
            | Phase::Updating { .. } => {
                self.ask_to_end(asking, AfterStop::Stop);
                self.say(EventKind::Stop, by);
            }
        }
        Ok(())
    }

    fn restart(&mut self, asking: Asking) -> Result<(), Refusal> {
        let by = asking.by;
        match &mut self.machine.phase {
            Phase::Creating { then, .. } => *then = Launch::Now,
            Phase::Starting { .. } | Phase::Updating { .. } => {}
            Phase::Stopping { then, kill_at, .. } if *then != AfterStop::Destroy => {
                *kill_at = (*kill_at).min(self.now + asking.patience);
                if *then == AfterStop::Stop {
                    *then = AfterStop::Restart;
                    self.say(EventKind::Restart, by);
                }
            }
            Phase::Stopping { .. } | Phase::Destroying { .. } | Phase::Destroyed { .. } => {
                return Err(self.refuse("created, started, suspended or stopped"));
            }
            Phase::Stopped { .. }
            | Phase::Failed { .. }
            | Phase::LaunchFailed { .. }
            | Phase::Restarting { .. } => {
                self.machine.restarts = 0;
                self.begin_launch(Cause::Restart, by);
                self.say(EventKind::Restart, by);
            }
            Phase::Started { .. }
            | Phase::Suspending { .. }
            | Phase::Suspended { .. }
            | Phase::Resuming { .. } => {
                self.machine.restarts = 0;
                self.ask_to_end(asking, AfterStop::Restart);
                self.say(EventKind::Restart, by);
            }
        }
        Ok(())
    }

    fn suspend(&mut self, by: Actor) -> Result<(), Refusal> {
        match &self.machine.phase {
            Phase::Suspending { .. } | Phase::Suspended { .. } => Ok(()),
            Phase::Started { guest } | Phase::Resuming { guest, .. } => {
                self.machine.phase = Phase::Suspending { guest: *guest, by };
                Ok(())
            }
            _ => Err(self.refuse("started")),
        }
    }

    fn update(&mut self, version: Version, launch: Launch, by: Actor) -> Result<(), Refusal> {
        let is_repeat = version.instance_id == self.machine.version.instance_id;
        match &self.machine.phase {
            Phase::Destroying { .. }
            | Phase::Destroyed { .. }
            | Phase::Stopping {
                then: AfterStop::Destroy,
                ..
            } => return Err(self.refuse("created, started, suspended, stopped or failed")),
            _ if is_repeat => return Ok(()),
            Phase::Updating { .. }
            | Phase::Stopping {
                then: AfterStop::Update,
                ..
            }
            | Phase::Starting {
                cause: Cause::Update,
                ..
            } => return Err(Refusal::UpdateInProgress),
            _ => {}
        }
        // The guest that runs is asked by the rule it was started with.
        let asking = self.asking(None, None, by);
        let reschedule = version.spec.schedule != self.machine.version.spec.schedule;
        let previous = std::mem::replace(&mut self.machine.version, version);
        if reschedule {
            self.machine.plan_schedule(self.now);
        }
        self.machine.restarts = 0;
        self.say(EventKind::Update, by);
        match &mut self.machine.phase {
            Phase::Creating { then, tries, .. } => {
                *tries = Tries::default();
                if launch == Launch::Now {
                    *then = Launch::Now;
                }
            }
            Phase::Started { guest } => {
                self.machine.phase = Phase::Updating {
                    guest: *guest,
                    previous: Box::new(previous),
                    tries: Tries::default(),
                    by,
                };
            }
            Phase::Starting { .. }
            | Phase::Suspending { .. }
            | Phase::Suspended { .. }
            | Phase::Resuming { .. } => self.ask_to_end(asking, AfterStop::Update),
            Phase::Stopping { then, .. } => {
                if launch == Launch::Now || *then == AfterStop::Restart {
                    *then = AfterStop::Update;
                }
            }
            Phase::Restarting { .. } => self.begin_launch(Cause::Update, by),
            Phase::Stopped { cleaned, .. }
            | Phase::Failed { cleaned, .. }
            | Phase::LaunchFailed { cleaned, .. } => {
                let cleaned = *cleaned;
                match launch {
                    Launch::Now => self.begin_launch(Cause::Update, by),
                    Launch::Skip => {
                        self.machine.phase = Phase::Stopped {
                            at: self.now,
                            exit: None,
                            cleaned,
                        };
                    }
                }
            }
            Phase::Updating { .. } | Phase::Destroying { .. } | Phase::Destroyed { .. } => {}
        }
        Ok(())
    }

    fn cordon(&mut self, cordoned: bool) -> Result<(), Refusal> {
        if matches!(
            self.machine.phase,
            Phase::Destroying { .. } | Phase::Destroyed { .. }
        ) {
            return Err(self.refuse("there"));
        }
        self.machine.cordoned = cordoned;
        Ok(())
    }

    fn destroy(&mut self, kill: bool, by: Actor) -> Result<(), Refusal> {
        match &self.machine.phase {
            Phase::Destroying { .. } | Phase::Destroyed { .. } => {}
            Phase::Stopping {
                then: AfterStop::Destroy,
                ..
            } => {}
            Phase::Creating { .. }
            | Phase::Restarting { .. }
            | Phase::Stopped { .. }
            | Phase::Failed { .. }
            | Phase::LaunchFailed { .. } => {
                self.end_run(|due_at| crate::RunChange::Exited {
                    due_at,
                    exit_code: None,
                });
                self.machine.phase = Phase::Destroying { by };
            }
            Phase::Suspended { .. } => self.kill_to_destroy(by),
            Phase::Starting { .. }
            | Phase::Started { .. }
            | Phase::Suspending { .. }
            | Phase::Resuming { .. }
            | Phase::Updating { .. }
            | Phase::Stopping { .. } => {
                if !kill {
                    return Err(self.refuse("created, stopped, suspended or failed"));
                }
                self.kill_to_destroy(by);
            }
        }
        Ok(())
    }

    fn kill_to_destroy(&mut self, by: Actor) {
        let asking = Asking {
            signal: Signal::KILL,
            patience: Duration::ZERO,
            by,
        };
        self.ask_to_end(asking, AfterStop::Destroy);
    }

    /// A frozen guest hears no signal and is killed at once.
    fn ask_to_end(&mut self, asking: Asking, then: AfterStop) {
        let Some(launch_id) = self.machine.phase.launch_id() else {
            return;
        };
        let is_frozen = matches!(
            self.machine.phase,
            Phase::Suspending { .. } | Phase::Suspended { .. } | Phase::Resuming { .. }
        );
        let kill_at: Timestamp = if is_frozen || asking.signal == Signal::KILL {
            self.now
        } else {
            self.now + asking.patience
        };
        self.machine.phase = Phase::Stopping {
            launch_id,
            guest: self.machine.phase.guest(),
            signal: asking.signal,
            asked: false,
            kill_at,
            then,
            by: asking.by,
        };
    }
}

//! What the kernel says of processes: executed, ended, signalled.

use mayfly_guest::ExecOutcome;
use mayfly_sys::SignalFd;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

use super::{Role, Supervisor};
use crate::channel::Notice;
use crate::clock::Moment;
use crate::failure::{Failure, While};
use crate::init::rules::End;

impl Supervisor<'_> {
    /// A child has executed its program, or says why it could not.
    pub(super) fn read_report(&mut self, pid: Pid) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(&pid) else {
            return Ok(());
        };
        let Some(report) = &child.report else {
            return Ok(());
        };
        let mut text = [0; 1024];
        let length = match rustix::io::read(report, &mut text) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
            Err(_) => 0,
        };
        child.report = None;
        let reason = (length > 0).then(|| String::from_utf8_lossy(&text[..length]).into_owned());
        child.failure.clone_from(&reason);
        match (&child.role, reason) {
            (
                Role::Program {
                    container,
                    process: 0,
                },
                None,
            ) if *container == self.first && !self.started => {
                self.started = true;
                self.channel.send(&Notice::Started, Vec::new());
            }
            (
                Role::Program {
                    container,
                    process: 0,
                },
                Some(reason),
            ) if *container == self.first && !self.started => {
                return Err(Failure(reason));
            }
            (Role::Program { container, .. }, Some(reason)) => {
                let container = *container;
                self.say(Some(container), &reason);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn take_signals(&mut self, signals: &SignalFd) -> Result<(), Failure> {
        while let Some(signal) = signals.read().when("read signals")? {
            if signal.number == Signal::CHILD.as_raw() {
                self.reap()?;
            } else if signal.sender == 0 {
                // From the host. What a program inside sends to pid 1 is not obeyed.
                let number = match signal.number == Signal::TERM.as_raw() {
                    true => self.spec.stop_signal,
                    false => signal.number,
                };
                for container in &self.containers {
                    container.signal(number);
                }
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<(), Failure> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let end = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => End::Code(code),
                        (None, Some(signal)) => End::Signal(signal),
                        (None, None) => continue,
                    };
                    self.ended(pid, end)?;
                }
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).when("reap"),
            }
        }
    }

    fn ended(&mut self, pid: Pid, end: End) -> Result<(), Failure> {
        self.read_report(pid)?;
        let child = self.children.remove(&pid);
        if end == End::Signal(Signal::KILL.as_raw()) {
            let name = child.as_ref().and_then(|child| self.name(&child.role));
            let notice = Notice::Killed {
                pid: pid.as_raw_nonzero().get().unsigned_abs(),
                name,
            };
            self.channel.send(&notice, Vec::new());
        }
        let Some(child) = child else {
            return Ok(()); // somebody's orphan
        };
        let now = Moment::now();
        match child.role {
            Role::Program { container, process } => {
                self.containers[container].alive.remove(&process);
                if process == 0 {
                    self.containers[container].end = Some(end);
                    // The rest of its session, which nobody leads any more.
                    let _ = kill_process_group(pid, Signal::HUP);
                }
                if self.containers[container].alive.is_empty() {
                    self.finish(container, now);
                } else if process == 0 {
                    self.stop(container, now);
                }
            }
            Role::Session { id } => {
                let outcome = match (child.failure, end) {
                    (Some(reason), _) => ExecOutcome::Failed { reason },
                    (None, End::Code(code)) => ExecOutcome::Exited { code },
                    (None, End::Signal(signal)) => ExecOutcome::Signaled { signal },
                };
                let notice = Notice::SessionEnded { id, outcome };
                self.channel.send(&notice, Vec::new());
            }
            Role::Probe { container, check } => {
                let container = &mut self.containers[container];
                let launch = container.launch;
                if let Some(state) = container.checks.get_mut(check) {
                    state.probe_ended(&launch.healthchecks[check], end.is_success(), now);
                }
            }
        }
        Ok(())
    }

    fn name(&self, role: &Role) -> Option<String> {
        match role {
            Role::Program { container, process } => {
                let launch = self.containers[*container].launch;
                launch.processes[*process].argv.first().cloned()
            }
            Role::Session { .. } | Role::Probe { .. } => None,
        }
    }
}

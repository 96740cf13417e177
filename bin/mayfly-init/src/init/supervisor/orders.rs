//! What the monitor asks for.

use std::os::fd::OwnedFd;

use mayfly_guest::{ExecOutcome, ExecStart};
use rustix::process::{Signal, kill_process, kill_process_group};

use super::container::program;
use super::{Role, Supervisor};
use crate::channel::{Notice, Order, Received};
use crate::failure::Failure;
use crate::init::program::{Streams, open_terminal, spawn};

impl Supervisor<'_> {
    pub(super) fn take_orders(&mut self) -> Result<(), Failure> {
        loop {
            match self.channel.receive::<Order>()? {
                Received::Message(order, descriptors) => self.obey(order, descriptors),
                Received::Nothing => return Ok(()),
                Received::Closed => return Err(Failure("the monitor is gone".to_owned())),
            }
        }
    }

    fn obey(&mut self, order: Order, descriptors: Vec<OwnedFd>) {
        match order {
            Order::Go => {}
            Order::Spawn { id, start } => {
                if let Err(Failure(reason)) = self.spawn_session(id, start, descriptors) {
                    let outcome = ExecOutcome::Failed { reason };
                    let notice = Notice::SessionEnded { id, outcome };
                    self.channel.send(&notice, Vec::new());
                }
            }
            Order::SignalSession { id, signal } => self.signal_session(id, signal),
            Order::KillSession { id } => self.signal_session(id, Signal::KILL.as_raw()),
            Order::Signal {
                id,
                signal,
                container,
            } => {
                let refused = self.signal_containers(signal, container.as_deref());
                self.channel
                    .send(&Notice::Answer { id, refused }, Vec::new());
            }
        }
    }

    fn spawn_session(
        &mut self,
        id: u64,
        start: ExecStart,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let container = match &start.container {
            None => self.containers.first(),
            Some(name) => self.containers.iter().find(|c| c.launch.name == *name),
        };
        let Some(container) = container else {
            let name = start.container.unwrap_or_default();
            return Err(Failure(format!("the machine has no container {name}")));
        };
        let Some(launch) = container.launch.processes.first() else {
            return Err(Failure("the container has no process".to_owned()));
        };
        let mut program = program(launch);
        program.argv = start.argv;
        program.env.extend(start.env);
        program.user = start.user.unwrap_or(program.user);
        program.cwd = start.cwd.unwrap_or(program.cwd);
        let (streams, master) = match (start.tty, <[OwnedFd; 3]>::try_from(descriptors)) {
            (Some(window), _) => {
                let (master, slave) = open_terminal(&container.root, Some(window))?;
                (Streams::Terminal(slave), vec![master])
            }
            (None, Ok([input, output, errors])) => {
                (Streams::Pipes(Some(input), output, errors), vec![])
            }
            (None, Err(_)) => return Err(Failure("the session has no streams".to_owned())),
        };
        let spawned = spawn(&container.root, &program, streams, &self.filter)?;
        self.adopt(spawned, Role::Session { id });
        self.channel.send(&Notice::Spawned { id }, master);
        Ok(())
    }

    fn signal_session(&self, wanted: u64, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else {
            return;
        };
        for (pid, child) in &self.children {
            if matches!(child.role, Role::Session { id } if id == wanted) {
                // It leads a session and thereby a group; before it does, the process alone is there.
                if kill_process_group(*pid, signal).is_err() {
                    let _ = kill_process(*pid, signal);
                }
            }
        }
    }

    /// Returns why not, if it was refused.
    fn signal_containers(&self, signal: i32, name: Option<&str>) -> Option<String> {
        if Signal::from_named_raw(signal).is_none() {
            return Some(format!("signal {signal} cannot be sent: use 1 to 31"));
        }
        let mut found = false;
        for container in &self.containers {
            if name.is_none_or(|name| container.launch.name == name) {
                found = true;
                container.signal(signal);
            }
        }
        (!found).then(|| format!("the machine has no container {}", name.unwrap_or_default()))
    }
}

//! The loop of the init: what runs, what has ended, what comes next.

mod children;
mod container;
mod orders;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mayfly_guest::{ContainerExit, ContainerState, LaunchSpec};
use mayfly_sys::{Instruction, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::Outputs;
use super::health::{CheckState, Verdict};
use super::probe;
use super::program::{NOT_EXECUTED, Spawned, Streams, open_terminal, spawn};
use super::root::ContainerRoot;
use super::rules::{End, Readiness, Standing, readiness, restart_delay};
use super::syscall_filter::{self, Filtered};
use crate::channel::{Channel, Notice};
use crate::clock::Moment;
use crate::failure::{Failure, While};
use container::{Container, Phase, program};

#[derive(Debug)]
enum Role {
    Program { container: usize, process: usize },
    Session { id: u64 },
    Probe { container: usize, check: usize },
}

#[derive(Debug)]
struct Child {
    role: Role,
    /// Until it has executed its program.
    report: Option<OwnedFd>,
    /// Why it could not.
    failure: Option<String>,
}

pub(crate) struct Supervisor<'a> {
    spec: &'a LaunchSpec,
    channel: &'a mut Channel,
    containers: Vec<Container<'a>>,
    children: HashMap<Pid, Child>,
    filter: Vec<Instruction>,
    /// The container whose first process must run for the machine to count as started.
    first: usize,
    started: bool,
    ending: bool,
    told: Vec<ContainerState>,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(
        spec: &'a LaunchSpec,
        roots: Vec<ContainerRoot>,
        outputs: Vec<Vec<Option<Outputs>>>,
        channel: &'a mut Channel,
    ) -> Result<Self, Failure> {
        for container in &spec.containers {
            for check in &container.healthchecks {
                if let Some(refusal) = probe::refusal(check) {
                    return Err(Failure(format!("container {}: {refusal}", container.name)));
                }
            }
        }
        let first = spec
            .containers
            .iter()
            .position(|container| container.depends_on.is_empty())
            .ok_or_else(|| Failure("every container waits for another one".to_owned()))?;
        let containers = spec
            .containers
            .iter()
            .zip(roots)
            .zip(outputs)
            .map(|((launch, root), outputs)| Container {
                launch,
                root,
                outputs,
                phase: Phase::Waiting,
                alive: BTreeMap::new(),
                end: None,
                killed: false,
                retries: 0,
                checks: Vec::new(),
            })
            .collect();
        Ok(Supervisor {
            spec,
            channel,
            containers,
            children: HashMap::new(),
            filter: syscall_filter::compile(match spec.sandbox {
                Some(_) => Filtered::Sandbox,
                None => Filtered::Ordinary,
            })?,
            first,
            started: false,
            ending: false,
            told: Vec::new(),
        })
    }

    /// Until the main container has ended for good and the others are down.
    pub(crate) fn run(mut self, signals: &SignalFd) -> Result<Vec<ContainerExit>, Failure> {
        loop {
            let now = Moment::now();
            self.advance(now)?;
            self.tell_containers();
            if self.ending && self.containers.iter().all(|c| c.phase == Phase::Ended) {
                return Ok(self
                    .containers
                    .iter()
                    .map(|c| End::record(c.end, &c.launch.name))
                    .collect());
            }
            let ready = self.wait(signals)?;
            for pid in ready.reports {
                self.read_report(pid)?;
            }
            if ready.signals {
                self.take_signals(signals)?;
            }
            self.channel.flush();
            self.take_orders()?;
        }
    }

    fn wait(&self, signals: &SignalFd) -> Result<Ready, Failure> {
        let channel = match self.channel.wants_to_write() {
            true => PollFlags::IN | PollFlags::OUT,
            false => PollFlags::IN,
        };
        let mut fds = vec![
            PollFd::new(&*self.channel, channel),
            PollFd::new(signals, PollFlags::IN),
        ];
        let mut pids = Vec::new();
        for (pid, child) in &self.children {
            if let Some(report) = &child.report {
                fds.push(PollFd::new(report, PollFlags::IN));
                pids.push(*pid);
            }
        }
        let timeout = self.next_moment().map(Moment::wait);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).when("wait"),
        }
        let reports = pids
            .into_iter()
            .zip(&fds[2..])
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(pid, _)| pid)
            .collect();
        Ok(Ready {
            signals: !fds[1].revents().is_empty(),
            reports,
        })
    }

    /// When something is due without anything happening.
    fn next_moment(&self) -> Option<Moment> {
        let phases = self.containers.iter().filter_map(|c| match c.phase {
            Phase::Stopping { kill_at } if !c.killed => Some(kill_at),
            Phase::Paused { until } => Some(until),
            _ => None,
        });
        let checks = self
            .containers
            .iter()
            .filter(|c| c.phase == Phase::Up)
            .flat_map(|c| c.checks.iter().map(|check| check.due));
        phases.chain(checks).min()
    }

    /// Does everything that is due.
    fn advance(&mut self, now: Moment) -> Result<(), Failure> {
        // Starting or giving up one container may decide about another.
        let mut changed = true;
        while changed {
            changed = false;
            for index in 0..self.containers.len() {
                let before = self.containers[index].phase;
                self.advance_one(index, now)?;
                changed |= self.containers[index].phase != before;
            }
        }
        Ok(())
    }

    fn advance_one(&mut self, index: usize, now: Moment) -> Result<(), Failure> {
        let container = &self.containers[index];
        match container.phase {
            Phase::Waiting if self.ending => self.finish(index, now),
            Phase::Waiting => match self.readiness(index) {
                Readiness::Ready => self.start(index, now)?,
                Readiness::Wait => {}
                Readiness::Never => {
                    let reason = "a container it waits for cannot get there any more";
                    self.say(Some(index), reason);
                    self.containers[index].end = Some(End::Code(NOT_EXECUTED));
                    self.containers[index].retries = u32::MAX;
                    self.finish(index, now);
                }
            },
            Phase::Paused { .. } if self.ending => self.containers[index].phase = Phase::Ended,
            Phase::Paused { until } if until <= now => self.start(index, now)?,
            Phase::Up => self.run_checks(index, now),
            Phase::Stopping { kill_at } if kill_at <= now && !container.killed => {
                let pids: Vec<Pid> = container.alive.values().copied().collect();
                for pid in pids {
                    let _ = kill_process_group(pid, Signal::KILL);
                    let _ = kill_process(pid, Signal::KILL);
                }
                self.containers[index].killed = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn readiness(&self, index: usize) -> Readiness {
        readiness(&self.containers[index].launch.depends_on, |name| {
            let other = self.containers.iter().find(|c| c.launch.name == name)?;
            Some(Standing {
                up: other.phase == Phase::Up,
                healthy: other.is_healthy(),
                ended: (other.phase == Phase::Ended)
                    .then(|| other.end.unwrap_or(End::Code(NOT_EXECUTED))),
            })
        })
    }

    fn start(&mut self, index: usize, now: Moment) -> Result<(), Failure> {
        let launch = self.containers[index].launch;
        self.containers[index].phase = Phase::Up;
        self.containers[index].killed = false;
        self.containers[index].end = None;
        self.containers[index].checks = launch
            .healthchecks
            .iter()
            .map(|check| CheckState::begin(check, now))
            .collect();
        for process in 0..launch.processes.len() {
            match self.start_process(index, process) {
                Ok(()) => {}
                Err(failure) if index == self.first && process == 0 && !self.started => {
                    return Err(failure);
                }
                Err(failure) => {
                    self.say(Some(index), &failure.0);
                    if process == 0 {
                        self.containers[index].end = Some(End::Code(NOT_EXECUTED));
                        self.finish(index, now);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn start_process(&mut self, index: usize, process: usize) -> Result<(), Failure> {
        let container = &self.containers[index];
        let launch = &container.launch.processes[process];
        let streams = match &container.outputs[process] {
            Some(outputs) => {
                let copy = |fd: &OwnedFd| fd.try_clone().when("copy a descriptor");
                Streams::Pipes(None, copy(&outputs.stdout)?, copy(&outputs.stderr)?)
            }
            None => {
                let (master, slave) = open_terminal(&container.root, None)?;
                let notice = Notice::Terminal { container: index };
                self.channel.send(&notice, vec![master]);
                Streams::Terminal(slave)
            }
        };
        let spawned = spawn(&container.root, &program(launch), streams, &self.filter)?;
        let role = Role::Program {
            container: index,
            process,
        };
        self.containers[index].alive.insert(process, spawned.pid);
        self.adopt(spawned, role);
        Ok(())
    }

    fn adopt(&mut self, spawned: Spawned, role: Role) {
        let child = Child {
            role,
            report: Some(spawned.report),
            failure: None,
        };
        self.children.insert(spawned.pid, child);
    }

    /// Asks a container to end.
    fn stop(&mut self, index: usize, now: Moment) {
        let container = &mut self.containers[index];
        if container.phase != Phase::Up {
            return;
        }
        let patience = Duration::from_millis(container.launch.stop_patience_ms);
        container.phase = Phase::Stopping {
            kill_at: now.after(patience),
        };
        container.signal(container.launch.stop_signal);
    }

    /// All processes of a container are gone: it runs again, or it has ended.
    fn finish(&mut self, index: usize, now: Moment) {
        let ending = self.ending;
        let container = &mut self.containers[index];
        let delay = match container.end {
            Some(end) if !ending && container.retries < u32::MAX => {
                restart_delay(container.launch.restart, end, container.retries)
            }
            _ => None,
        };
        container.phase = match delay {
            Some(delay) => {
                container.retries = container.retries.saturating_add(1).min(u32::MAX - 1);
                Phase::Paused {
                    until: now.after(delay),
                }
            }
            None => Phase::Ended,
        };
        if index == 0 && container.phase == Phase::Ended {
            self.ending = true;
            for other in 1..self.containers.len() {
                self.stop(other, now);
            }
        }
    }

    fn run_checks(&mut self, index: usize, now: Moment) {
        let container = &self.containers[index];
        let checks = &container.launch.healthchecks;
        let mut unhealthy = false;
        for (number, check) in checks.iter().enumerate() {
            let state = &self.containers[index].checks[number];
            unhealthy |= state.verdict == Verdict::Failing && check.stop_when_unhealthy;
            if state.due > now {
                continue;
            }
            if state.probing {
                self.kill_probe(index, number);
                // It counts as failed when it is reaped, which is at once.
                self.containers[index].checks[number].due = now.after(check.timeout);
                continue;
            }
            let container = &self.containers[index];
            let Some(launch) = container.launch.processes.first() else {
                continue;
            };
            match probe::start(&container.root, &program(launch), check, &self.filter) {
                Ok(pid) => {
                    let role = Role::Probe {
                        container: index,
                        check: number,
                    };
                    let child = Child {
                        role,
                        report: None,
                        failure: None,
                    };
                    self.children.insert(pid, child);
                    self.containers[index].checks[number].probe_started(check, now);
                }
                Err(failure) => {
                    self.say(Some(index), &failure.0);
                    self.containers[index].checks[number].probe_ended(check, false, now);
                }
            }
        }
        if unhealthy {
            self.say(Some(index), "health check failed: stopping the container");
            self.stop(index, now);
        }
    }

    fn kill_probe(&self, index: usize, number: usize) {
        for (pid, child) in &self.children {
            if matches!(child.role, Role::Probe { container, check }
                if container == index && check == number)
            {
                let _ = kill_process_group(*pid, Signal::KILL);
                let _ = kill_process(*pid, Signal::KILL);
            }
        }
    }

    fn say(&mut self, container: Option<usize>, message: &str) {
        let notice = Notice::Say {
            container,
            message: message.to_owned(),
        };
        self.channel.send(&notice, Vec::new());
    }

    fn tell_containers(&mut self) {
        let states: Vec<ContainerState> = self.containers.iter().map(Container::state).collect();
        if states != self.told {
            self.channel
                .send(&Notice::Containers(states.clone()), Vec::new());
            self.told = states;
        }
    }
}

struct Ready {
    signals: bool,
    reports: Vec<Pid>,
}

//! The loop of the init: what runs, what has ended, what comes next.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mayfly_guest::{
    ContainerExit, ContainerLaunch, ContainerState, ExecOutcome, ExecStart, LaunchSpec,
};
use mayfly_sys::{Instruction, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};

use super::Outputs;
use super::health::{CheckState, Verdict};
use super::probe;
use super::program::{NOT_EXECUTED, Program, Spawned, Streams, open_terminal, spawn};
use super::root::ContainerRoot;
use super::rules::{End, Readiness, Standing, readiness, restart_delay};
use super::syscall_filter;
use crate::channel::{Channel, Notice, Order, Received};
use crate::clock::Moment;
use crate::failure::{Failure, While};

/// ```text
///            dependencies met           first process ends            last process gone
///  Waiting ───────────────────► Up ───────────────────────► Stopping ───────────────────► Ended
///     │                          ▲     or stop, or unhealthy                 │
///     └── can never be met ──► Ended            Paused ◄── restart is due ───┘
///                                └── delay over ──┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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

struct Container<'a> {
    launch: &'a ContainerLaunch,
    root: ContainerRoot,
    outputs: Vec<Option<Outputs>>,
    phase: Phase,
    /// Processes that live, by their place in `launch.processes`.
    alive: BTreeMap<usize, Pid>,
    /// How the first process ended last.
    end: Option<End>,
    /// Killed since it was asked to stop.
    killed: bool,
    retries: u32,
    checks: Vec<CheckState>,
}

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
            filter: syscall_filter::compile()?,
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

    /// A child has executed its program, or says why it could not.
    fn read_report(&mut self, pid: Pid) -> Result<(), Failure> {
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

    fn take_signals(&mut self, signals: &SignalFd) -> Result<(), Failure> {
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

    fn take_orders(&mut self) -> Result<(), Failure> {
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

impl Container<'_> {
    fn signal(&self, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else {
            return;
        };
        for pid in self.alive.values() {
            let _ = kill_process(*pid, signal);
        }
    }

    /// Runs and passes all its checks.
    fn is_healthy(&self) -> bool {
        self.phase == Phase::Up
            && self
                .checks
                .iter()
                .all(|check| check.verdict == Verdict::Passing)
    }

    fn state(&self) -> ContainerState {
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

fn program(launch: &mayfly_guest::ProcessLaunch) -> Program {
    Program {
        argv: launch.argv.clone(),
        env: launch.env.clone(),
        cwd: launch.cwd.clone(),
        user: launch.user.clone(),
    }
}

//! The loop of a monitor.

mod ending;

use std::os::fd::OwnedFd;
use std::path::Path;

use mayfly_guest::{
    CONTROL_SOCKET, ContainerExit, ContainerState, ExecOutcome, ExecStart, Frame, GuestRecord,
    LaunchSpec, Reply, Request, Window,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, chmodat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::{Pid, chdir, getpid};

use super::cgroup;
use super::connection::{Connection, Demand, End, Kind, Session, make_nonblocking, stream_pipe};
use super::output::{CHUNK_BYTES, Log, Output};
use super::records::{self, Status};
use crate::channel::{Channel, MESSAGE_MAX, Notice, Order, Received};
use crate::clock::{Moment, now};
use crate::failure::{Failure, While};
use crate::init::set_window;

/// Far more than people and checks open at once; beyond it, peers wait in the socket's queue.
const CONNECTIONS_MAX: usize = 256;

pub(crate) struct Monitor<'a> {
    run_dir: &'a Path,
    spec: &'a LaunchSpec,
    channel: Channel,
    /// The init has closed its end, or died: there is only its end left to wait for.
    silent: bool,
    init: Pid,
    pidfd: OwnedFd,
    outputs: Vec<Output>,
    log: Log,
    listener: OwnedFd,
    connections: Vec<Connection>,
    next_id: u64,
    containers: Vec<ContainerState>,
    started: bool,
    ended: Option<(Option<String>, Vec<ContainerExit>)>,
    ooms_before: u64,
    ooms_seen: u64,
    chunk: Vec<u8>,
}

impl<'a> Monitor<'a> {
    pub(crate) fn new(
        run_dir: &'a Path,
        spec: &'a LaunchSpec,
        channel: Channel,
        (init, pidfd): (Pid, OwnedFd),
        outputs: Vec<Output>,
        log: Log,
        ooms_before: u64,
    ) -> Result<Self, Failure> {
        Ok(Monitor {
            run_dir,
            spec,
            channel,
            silent: false,
            init,
            pidfd,
            outputs,
            log,
            listener: listen_in(run_dir)?,
            connections: Vec::new(),
            next_id: 1,
            containers: Vec::new(),
            started: false,
            ended: None,
            ooms_before,
            ooms_seen: ooms_before,
            chunk: vec![0; CHUNK_BYTES],
        })
    }

    /// Until the guest has ended and its end is recorded. `lock` is given back then.
    pub(crate) fn run(mut self, status: &mut Status, lock: std::fs::File) -> Result<(), Failure> {
        loop {
            let ready = self.wait()?;
            self.channel.flush();
            while self.take_notice(status)? {}
            if ready.ended {
                break;
            }
            self.drain_outputs();
            self.serve(&ready.connections);
            if ready.listener {
                self.accept();
            }
        }
        self.finish(status)?;
        let _ = std::fs::remove_file(self.run_dir.join(CONTROL_SOCKET));
        drop(lock);
        self.say_farewell();
        Ok(())
    }

    fn wait(&self) -> Result<Ready, Failure> {
        let listener = match self.connections.len() < CONNECTIONS_MAX {
            true => PollFlags::IN,
            false => PollFlags::empty(),
        };
        let mut fds = vec![
            PollFd::new(&self.pidfd, PollFlags::IN),
            PollFd::new(&self.listener, listener),
        ];
        for output in self.outputs.iter().filter(|output| output.open) {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        let first = fds.len();
        for connection in &self.connections {
            fds.push(PollFd::new(
                &connection.socket,
                connection.socket_interest(),
            ));
        }
        for connection in &self.connections {
            for (fd, interest) in connection.stream_interests() {
                fds.push(PollFd::new(fd, interest));
            }
        }
        // Last, since a closed one would be ready for ever.
        if !self.silent {
            let interest = match self.channel.wants_to_write() {
                true => PollFlags::IN | PollFlags::OUT,
                false => PollFlags::IN,
            };
            fds.push(PollFd::new(&self.channel, interest));
        }
        let timeout = self.outputs.iter().filter_map(Output::due).min();
        match poll(&mut fds, timeout.map(Moment::wait).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).when("wait"),
        }
        Ok(Ready {
            ended: !fds[0].revents().is_empty(),
            listener: !fds[1].revents().is_empty(),
            connections: fds[first..first + self.connections.len()]
                .iter()
                .map(PollFd::revents)
                .collect(),
        })
    }

    /// False when there is none.
    fn take_notice(&mut self, status: &mut Status) -> Result<bool, Failure> {
        let (notice, mut descriptors) = match self.channel.receive::<Notice>()? {
            Received::Message(notice, descriptors) => (notice, descriptors),
            Received::Nothing => return Ok(false),
            Received::Closed => {
                self.silent = true;
                return Ok(false);
            }
        };
        match notice {
            Notice::Started => {
                records::write_guest(self.run_dir, &self.guest_record()?)?;
                self.started = true;
                status.started();
                // A full disk leaves the file as it is: for root only.
                let _ = records::forget_secrets(self.run_dir);
            }
            Notice::Terminal { container } => {
                if let Some(master) = descriptors.pop() {
                    make_nonblocking(&master)?;
                    self.outputs.push(Output::new(master, container, "stdout"));
                }
            }
            Notice::Say { container, message } => self.log.say(container, &message),
            Notice::Killed { pid, name } => self.look_for_oom(Some((pid, name))),
            Notice::Spawned { id } => {
                if let (Some(master), Some(session)) = (descriptors.pop(), self.session(id)) {
                    make_nonblocking(&master)?;
                    session.stdin = master.try_clone().ok();
                    session.outputs.push((master, Frame::Stdout));
                }
            }
            Notice::SessionEnded { id, outcome } => {
                if let Some(session) = self.session(id) {
                    session.outcome = Some(outcome);
                }
                self.look_for_oom(None);
            }
            Notice::Answer { id, refused } => {
                let connection = self.connections.iter_mut().find(|c| c.id == id);
                if let Some(connection) = connection.filter(|c| matches!(c.kind, Kind::Asked)) {
                    connection.answer(&match refused {
                        None => Reply::Done,
                        Some(reason) => Reply::Refused { reason },
                    });
                }
            }
            Notice::Containers(states) => self.containers = states,
            Notice::Ended {
                failure,
                containers,
            } => self.ended = Some((failure, containers)),
        }
        Ok(true)
    }

    fn guest_record(&self) -> Result<GuestRecord, Failure> {
        let number = |pid: Pid| pid.as_raw_nonzero().get().unsigned_abs();
        Ok(GuestRecord {
            launch_id: self.spec.launch_id,
            monitor_pid: number(getpid()),
            monitor_start_ticks: start_ticks(number(getpid()))?,
            init_pid: number(self.init),
            init_start_ticks: start_ticks(number(self.init))?,
            started_at: now(),
        })
    }

    fn session(&mut self, id: u64) -> Option<&mut Session> {
        self.connections
            .iter_mut()
            .find(|connection| connection.id == id)
            .and_then(|connection| match &mut connection.kind {
                Kind::Session(session) => Some(session),
                _ => None,
            })
    }

    /// The kernel counts what it kills; what it killed is known only if it was a process the init waited for.
    fn look_for_oom(&mut self, killed: Option<(u32, Option<String>)>) {
        let seen = cgroup::oom_kills(&self.spec.cgroups);
        if seen <= self.ooms_seen {
            return;
        }
        self.ooms_seen = seen;
        let message = match killed {
            Some((pid, Some(name))) => format!("Out of memory: Killed process {pid} ({name})"),
            Some((pid, None)) => format!("Out of memory: Killed process {pid}"),
            None => "Out of memory: Killed a process".to_owned(),
        };
        self.log.say(None, &message);
    }

    fn drain_outputs(&mut self) {
        let now = Moment::now();
        for output in self.outputs.iter_mut().filter(|output| output.open) {
            let length = output.drain(&mut self.chunk, &mut self.log);
            output.flush(now, &mut self.log);
            for connection in &mut self.connections {
                if let Kind::Session(session) = &connection.kind
                    && session.attached == Some(output.container())
                    && length > 0
                {
                    connection.show(&self.chunk[..length]);
                }
            }
        }
        // The terminal of a process that has ended; a restarted one gets a new terminal.
        for output in self.outputs.iter_mut().filter(|output| !output.open) {
            output.finish(&mut self.chunk, &mut self.log);
        }
        self.outputs.retain(|output| output.open);
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if let Ok(socket) = accept_with(&self.listener, flags) {
            self.connections.push(Connection::new(self.next_id, socket));
            self.next_id += 1;
        }
    }

    fn serve(&mut self, readiness: &[PollFlags]) {
        for index in 0..self.connections.len() {
            let mut ready = readiness.get(index).copied().unwrap_or(PollFlags::empty());
            loop {
                let demands = self.connections[index].turn(ready);
                let again = demands.iter().any(|d| matches!(d, Demand::Request(_)));
                for demand in demands {
                    self.meet(index, demand);
                }
                if !again {
                    break;
                }
                ready = PollFlags::empty();
            }
        }
        let channel = &mut self.channel;
        self.connections.retain(|connection| {
            let closed = connection.closed;
            if let (true, Kind::Session(session)) = (closed, &connection.kind)
                && session.attached.is_none()
                && session.outcome.is_none()
            {
                let id = connection.id;
                channel.send(&Order::KillSession { id }, Vec::new());
            }
            !closed
        });
    }

    fn meet(&mut self, index: usize, demand: Demand) {
        let connection = &mut self.connections[index];
        let id = connection.id;
        match demand {
            Demand::Close => connection.closed = true,
            Demand::Request(Request::Exec(start)) => {
                let tty = start.tty.is_some();
                match self.open_session(id, start) {
                    Ok(session) => self.connections[index].kind = Kind::Session(session),
                    Err(Failure(reason)) => {
                        self.connections[index].kind = Kind::Session(Session {
                            outcome: Some(ExecOutcome::Failed { reason }),
                            terminal: tty,
                            ..Session::default()
                        });
                    }
                }
            }
            Demand::Request(Request::Signal { signal, container }) => {
                connection.kind = Kind::Asked;
                let order = Order::Signal {
                    id,
                    signal,
                    container,
                };
                self.channel.send(&order, Vec::new());
            }
            Demand::Request(Request::Containers) => {
                connection.answer(&Reply::Containers(self.containers.clone()));
            }
            Demand::Request(Request::Attach { window }) => self.attach(index, window),
            Demand::Resize(window) => {
                if let Kind::Session(session) = &connection.kind
                    && session.terminal
                    && let Some(terminal) = &session.stdin
                {
                    let _ = set_window(terminal, Some(window));
                }
            }
            Demand::Signal(signal) => {
                let order = match &connection.kind {
                    Kind::Session(Session {
                        attached: Some(_), ..
                    }) => Order::Signal {
                        id: 0, // nobody waits for the answer
                        signal,
                        container: None,
                    },
                    _ => Order::SignalSession { id, signal },
                };
                self.channel.send(&order, Vec::new());
            }
        }
    }

    fn open_session(&mut self, id: u64, start: ExecStart) -> Result<Session, Failure> {
        let mut session = Session {
            terminal: start.tty.is_some(),
            ..Session::default()
        };
        let mut theirs = Vec::new();
        if !session.terminal {
            let (stdin, input) = stream_pipe(End::Write)?;
            session.stdin = Some(stdin);
            theirs.push(input);
            for frame in [Frame::Stdout, Frame::Stderr] {
                let (ours, output) = stream_pipe(End::Read)?;
                session.outputs.push((ours, frame));
                theirs.push(output);
            }
        }
        let order = Order::Spawn { id, start };
        let length = serde_json::to_vec(&order).map_or(usize::MAX, |json| json.len());
        if length > MESSAGE_MAX {
            return Err(Failure(format!(
                "command and environment are longer than {MESSAGE_MAX} bytes"
            )));
        }
        self.channel.send(&order, theirs);
        Ok(session)
    }

    fn attach(&mut self, index: usize, window: Option<Window>) {
        let terminal = self
            .outputs
            .iter()
            .find(|output| output.container() == 0 && self.spec.containers[0].processes[0].tty)
            .and_then(|output| output.source.try_clone().ok());
        let connection = &mut self.connections[index];
        let Some(terminal) = terminal else {
            let reason = "the machine's main process has no terminal".to_owned();
            connection.answer(&Reply::Refused { reason });
            return;
        };
        if window.is_some() {
            let _ = set_window(&terminal, window);
        }
        connection.kind = Kind::Session(Session {
            stdin: Some(terminal),
            terminal: true,
            attached: Some(0),
            ..Session::default()
        });
    }
}

struct Ready {
    ended: bool,
    listener: bool,
    connections: Vec<PollFlags>,
}

/// Binds the control socket by a relative name: absolute ones may be too long for a socket address.
fn listen_in(run_dir: &Path) -> Result<OwnedFd, Failure> {
    let attempt = "open the control socket";
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).when(attempt)?;
    chdir(run_dir).when(attempt)?;
    let address = SocketAddrUnix::new(CONTROL_SOCKET).when(attempt)?;
    bind(&socket, &address).when(attempt)?;
    let only_root = Mode::from_raw_mode(0o600);
    chmodat(
        rustix::fs::CWD,
        CONTROL_SOCKET,
        only_root,
        rustix::fs::AtFlags::empty(),
    )
    .when(attempt)?;
    listen(&socket, 64).when(attempt)?;
    // Holds no directory of the host in use.
    chdir("/").when(attempt)?;
    Ok(socket)
}

/// Field 22 of proc_pid_stat(5): when a process started, in clock ticks since boot.
fn start_ticks(pid: u32) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).when("look at a process")?;
    stat.rsplit_once(')')
        .and_then(|(_, fields)| fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok())
        .ok_or_else(|| Failure(format!("read the start time of process {pid}")))
}

//! A machine for a test: busybox as its image, and a client of its control socket.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mayfly_guest::{
    CONTROL_SOCKET, ContainerLaunch, EXIT_FILE, ExecOutcome, ExecStart, ExitRecord, Frame,
    GUEST_FILE, GuestRecord, LAUNCH_FILE, LaunchSpec, ProcessLaunch, Reply, Request, RestartRule,
    RootLaunch,
};
use mayfly_logs::{LogReader, Record};
use mayfly_types::{LaunchId, MachineId};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A machine with busybox as its image. Dropping it kills what still runs.
pub(crate) struct Machine {
    dir: TempDir,
    pub(crate) spec: LaunchSpec,
    launches: u64,
}

pub(crate) fn process(argv: &[&str]) -> ProcessLaunch {
    ProcessLaunch {
        argv: argv.iter().map(ToString::to_string).collect(),
        cwd: "/".into(),
        ..ProcessLaunch::default()
    }
}

/// Runs a shell script as the main process.
pub(crate) fn shell(script: &str) -> Machine {
    Machine::new(process(&["/bin/sh", "-c", script]))
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

impl Machine {
    pub(crate) fn new(main: ProcessLaunch) -> Machine {
        let dir = TempDir::new().unwrap();
        let layer = dir.path().join("layer");
        for part in ["bin", "etc", "tmp", "proc", "root", "home/app"] {
            fs::create_dir_all(layer.join(part)).unwrap();
        }
        fs::set_permissions(layer.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
        for applet in Command::new("/bin/busybox")
            .arg("--list")
            .output()
            .unwrap()
            .stdout
            .lines()
        {
            let link = layer.join("bin").join(applet.unwrap());
            let _ = std::os::unix::fs::symlink("busybox", link);
        }
        fs::write(
            layer.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
        )
        .unwrap();
        fs::write(
            layer.join("etc/group"),
            "root:x:0:\napp:x:1001:\nvideo:x:44:app\n",
        )
        .unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let mut machine = Machine {
            spec: LaunchSpec {
                version: 1,
                machine_id: MachineId::from_random([7; 14]),
                launch_id: launch_id(0),
                hostname: "test-machine".into(),
                log_dir: dir.path().join("logs"),
                netns: None,
                cgroups: vec![],
                containers: vec![],
                etc_hosts: "127.0.0.1 localhost\n".into(),
                etc_resolv_conf: "nameserver fdaa::3\n".into(),
                stop_signal: 2,
                sandbox: None,
                volumes: Vec::new(),
            },
            dir,
            launches: 0,
        };
        machine.add_container("main", main);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a program of this system and the libraries it needs into the image, the program into `/bin`.
    pub(crate) fn add_program(&self, program: &str) {
        let layer = self.path("layer");
        let name = Path::new(program).file_name().unwrap();
        fs::copy(program, layer.join("bin").join(name)).unwrap();
        let needed = Command::new("ldd").arg(program).output().unwrap().stdout;
        let needed = String::from_utf8(needed).unwrap();
        for library in needed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let into = layer.join(library.trim_start_matches('/'));
            fs::create_dir_all(into.parent().unwrap()).unwrap();
            fs::copy(library, into).unwrap();
        }
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub(crate) fn add_container(
        &mut self,
        name: &str,
        main: ProcessLaunch,
    ) -> &mut ContainerLaunch {
        self.spec.containers.push(ContainerLaunch {
            name: name.into(),
            root: RootLaunch {
                lower: vec![self.path("layer")],
                upper: self.path(&format!("upper-{name}")),
                work: self.path(&format!("work-{name}")),
                disk_image: None,
            },
            processes: vec![main],
            files: vec![],
            mounts: vec![],
            restart: RestartRule::Never,
            stop_signal: 15,
            stop_patience_ms: 5_000,
            depends_on: vec![],
            healthchecks: vec![],
        });
        self.spec.containers.last_mut().unwrap()
    }

    pub(crate) fn main(&mut self) -> &mut ContainerLaunch {
        &mut self.spec.containers[0]
    }

    /// Launches once more and returns the monitor's line.
    pub(crate) fn launch(&mut self) -> String {
        self.launches += 1;
        self.spec.launch_id = launch_id(self.launches);
        self.relaunch()
    }

    pub(crate) fn write_launch(&mut self) {
        let json = serde_json::to_vec(&self.spec).unwrap();
        fs::write(self.run_dir().join(LAUNCH_FILE), json).unwrap();
    }

    /// The same launch again.
    pub(crate) fn relaunch(&mut self) -> String {
        self.write_launch();
        let mut starter = Command::new(env!("CARGO_BIN_EXE_mayfly-init"))
            .arg("monitor")
            .arg(self.run_dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(starter.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        starter.wait().unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn start(&mut self) -> GuestRecord {
        assert_eq!(self.launch(), "started");
        self.guest()
    }

    pub(crate) fn guest(&self) -> GuestRecord {
        read(&self.run_dir().join(GUEST_FILE)).expect("guest.json is there after `started`")
    }

    pub(crate) fn exit(&self) -> ExitRecord {
        wait_for("exit.json", || {
            read(&self.run_dir().join(EXIT_FILE))
                .filter(|exit: &ExitRecord| exit.launch_id == self.spec.launch_id)
        })
    }

    /// Starts, waits for the end and returns it with the output.
    pub(crate) fn run(&mut self) -> (ExitRecord, Vec<String>) {
        self.start();
        let exit = self.exit();
        (exit, self.messages())
    }

    pub(crate) fn log(&self) -> Vec<Record> {
        LogReader::new(&self.spec.log_dir)
            .after(0, 100_000)
            .unwrap()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.log()
            .into_iter()
            .map(|record| record.message)
            .collect()
    }

    pub(crate) fn wait_for_line(&self, text: &str) -> Record {
        wait_for(
            &format!("the line {text:?}; there is {:?}", self.messages()),
            || {
                self.log()
                    .into_iter()
                    .find(|record| record.message.contains(text))
            },
        )
    }

    pub(crate) fn connect(&self) -> Session {
        let path = self.run_dir().join(CONTROL_SOCKET);
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Session { socket }
    }

    pub(crate) fn ask(&self, request: &Request) -> Reply {
        let mut session = self.connect();
        session.send(Frame::Request, &serde_json::to_vec(request).unwrap());
        let (frame, payload) = session.receive();
        assert_eq!(frame, Frame::Reply);
        serde_json::from_slice(&payload).unwrap()
    }

    pub(crate) fn signal(&self, signal: i32) {
        let request = Request::Signal {
            signal,
            container: None,
        };
        assert_eq!(self.ask(&request), Reply::Done);
    }

    pub(crate) fn exec(&self, start: ExecStart) -> Session {
        let mut session = self.connect();
        let request = Request::Exec(start);
        session.send(Frame::Request, &serde_json::to_vec(&request).unwrap());
        session
    }

    /// Runs a shell script inside and returns how it ended and what it said, output and errors.
    pub(crate) fn sh(&self, script: &str) -> (ExecOutcome, String, String) {
        let mut session = self.exec(command(&["/bin/sh", "-c", script]));
        session.send(Frame::StdinEnd, b"");
        session.finish()
    }
}

pub(crate) fn command(argv: &[&str]) -> ExecStart {
    ExecStart {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: Default::default(),
        user: None,
        cwd: None,
        tty: None,
        container: None,
    }
}

fn launch_id(number: u64) -> LaunchId {
    format!("{number:012x}").parse().unwrap()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let content = fs::read(path).ok()?;
    Some(serde_json::from_slice(&content).expect("files are whole whenever they are there"))
}

impl Drop for Machine {
    fn drop(&mut self) {
        let guest: Option<GuestRecord> = read(&self.run_dir().join(GUEST_FILE));
        let Some(guest) = guest else { return };
        for (pid, ticks) in [
            (guest.init_pid, guest.init_start_ticks),
            (guest.monitor_pid, guest.monitor_start_ticks),
        ] {
            let begin = Instant::now();
            while lives(pid, ticks) && begin.elapsed() < Duration::from_secs(10) {
                if pid == guest.init_pid {
                    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
                }
                std::thread::park_timeout(Duration::from_millis(3));
            }
        }
    }
}

/// Whether the process that started then still runs.
pub(crate) fn lives(pid: u32, start_ticks: u64) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[0] != "Z" && fields[19] == start_ticks.to_string()
}

pub(crate) struct Session {
    socket: UnixStream,
}

impl Session {
    pub(crate) fn send(&mut self, frame: Frame, payload: &[u8]) {
        // The machine may have ended meanwhile; what it said is still there to read.
        let _ = self.socket.write_all(&frame.header(payload.len()));
        let _ = self.socket.write_all(payload);
    }

    pub(crate) fn receive(&mut self) -> (Frame, Vec<u8>) {
        let mut header = [0; 5];
        self.socket
            .read_exact(&mut header)
            .expect("a frame comes in time");
        let (frame, length) = Frame::parse_header(header).unwrap();
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).unwrap();
        (frame, payload)
    }

    /// Reads to the outcome.
    pub(crate) fn finish(mut self) -> (ExecOutcome, String, String) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        loop {
            match self.receive() {
                (Frame::Stdout, bytes) => output.extend(bytes),
                (Frame::Stderr, bytes) => errors.extend(bytes),
                (Frame::Outcome, json) => {
                    return (
                        serde_json::from_slice(&json).unwrap(),
                        String::from_utf8_lossy(&output).into_owned(),
                        String::from_utf8_lossy(&errors).into_owned(),
                    );
                }
                other => panic!("unexpected frame {other:?}"),
            }
        }
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Whether the other side hangs up without a word.
    pub(crate) fn is_closed(&mut self) -> bool {
        !matches!(self.socket.read(&mut [0]), Ok(1..))
    }

    /// Reads output until `text` has come.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mut output = Vec::new();
        loop {
            match self.receive() {
                (Frame::Stdout, bytes) => output.extend(bytes),
                other => panic!("unexpected frame {other:?} after {output:?}"),
            }
            let text_so_far = String::from_utf8_lossy(&output);
            if text_so_far.contains(text) {
                return text_so_far.into_owned();
            }
        }
    }
}

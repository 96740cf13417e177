//! Starts one program of a container: the half of a fork that becomes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use mayfly_guest::Window;
use mayfly_sys::{Fork, Instruction, continue_alone, default_signals, fork};
use rustix::fs::{Mode, OFlags, fchown, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, chdir, ioctl_tiocsctty, set_dumpable_behavior, setsid, umask,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::guest_dir::GuestDir;
use super::privileges::{Kept, drop_to};
use super::root::ContainerRoot;
use super::sftp;
use super::users::User;
use crate::failure::{Failure, Reason, While};

/// Docker's, and what images rely on.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: String,
    pub(crate) user: String,
}

/// What a program reads from and writes to.
#[derive(Debug)]
pub(crate) enum Streams {
    /// Input (the empty one if `None`), output, errors.
    Pipes(Option<OwnedFd>, OwnedFd, OwnedFd),
    /// The machine's side of a terminal.
    Terminal(OwnedFd),
}

impl Streams {
    fn each(&self, mut work: impl FnMut(&OwnedFd) -> Result<(), Failure>) -> Result<(), Failure> {
        match self {
            Streams::Pipes(input, output, errors) => {
                input.iter().chain([output, errors]).try_for_each(work)
            }
            Streams::Terminal(terminal) => work(terminal),
        }
    }
}

/// A child that may not have executed its program yet.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    /// Ends without a byte when the program has been executed; otherwise carries the reason why not.
    pub(crate) report: OwnedFd,
}

/// Opens a new terminal in the container and returns its two sides, ours first.
pub(crate) fn open_terminal(
    root: &ContainerRoot,
    window: Option<Window>,
) -> Result<(OwnedFd, OwnedFd), Failure> {
    let attempt = "open a terminal";
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(&root.terminals, "ptmx", flags, Mode::empty()).when(attempt)?;
    unlockpt(&master).when(attempt)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).when(attempt)?;
    set_window(&master, window).when(attempt)?;
    Ok((master, slave))
}

pub(crate) fn set_window(master: impl AsFd, window: Option<Window>) -> rustix::io::Result<()> {
    let window = window.unwrap_or(Window {
        rows: 24,
        columns: 80,
    });
    tcsetwinsize(
        master,
        Winsize {
            ws_row: window.rows,
            ws_col: window.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
}

/// Forks a child that becomes `program`.
pub(crate) fn spawn(
    root: &ContainerRoot,
    program: &Program,
    streams: Streams,
    filter: &[Instruction],
) -> Result<Spawned, Failure> {
    let (report, mut child_report) = report_pipe()?;
    match fork().when("start a process")? {
        Fork::Parent { child } => Ok(Spawned { pid: child, report }),
        Fork::Child => {
            let failed = match program.argv.as_slice() {
                [name] if name == sftp::PROGRAM => {
                    become_file_server(root, program, streams, filter)
                }
                _ => become_program(root, program, streams, filter),
            };
            let _ = child_report.write_all(failed.0.as_bytes());
            exit(NOT_EXECUTED);
        }
    }
}

/// As a shell says it.
pub(crate) const NOT_EXECUTED: i32 = 127;

pub(crate) fn report_pipe() -> Result<(OwnedFd, File), Failure> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).when("make a pipe")?;
    Ok((read, File::from(write)))
}

/// Takes over the rights and place of a program, and serves files instead of executing one. Returns only if it failed.
fn become_file_server(
    root: &ContainerRoot,
    program: &Program,
    streams: Streams,
    filter: &[Instruction],
) -> Failure {
    let prepared = prepare(root, program, streams, filter)
        .and_then(|_| set_dumpable_behavior(DumpableBehavior::NotDumpable).when("forbid tracing"));
    match prepared {
        // The report is closed with everything else, which is how a program says that it runs.
        Ok(()) => continue_alone(sftp::serve),
        Err(failure) => failure,
    }
}

/// Returns only if it failed.
fn become_program(
    root: &ContainerRoot,
    program: &Program,
    streams: Streams,
    filter: &[Instruction],
) -> Failure {
    let tty = matches!(streams, Streams::Terminal(_));
    match prepare(root, program, streams, filter) {
        Ok(user) => execute(program, &user, tty),
        Err(failure) => failure,
    }
}

/// Goes where a program of the container runs, with the rights it runs with.
pub(crate) fn prepare(
    root: &ContainerRoot,
    program: &Program,
    streams: Streams,
    filter: &[Instruction],
) -> Result<User, Failure> {
    default_signals();
    if let Some(sandbox) = &root.sandbox {
        streams.each(|stream| sandbox.hand_over(stream))?;
    }
    // Ours is protected from the out-of-memory killer, theirs not. Raising is always allowed.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    enter(root)?;
    let dir = File::open("/").when("open the root directory")?;
    let user = User::look_up(&GuestDir::new(dir.into()), &program.user)?;
    setsid().when("start a session")?;
    connect(streams, &user)?;
    umask(Mode::from_raw_mode(0o022));
    drop_to(&user, Kept::of(root), filter)?;
    let cwd = if program.cwd.is_empty() {
        "/"
    } else {
        &program.cwd
    };
    chdir(cwd).when(format_args!("enter working directory {cwd}"))?;
    Ok(user)
}

/// Goes where the container's files are; for processes just forked.
pub(super) fn enter(root: &ContainerRoot) -> Result<(), Failure> {
    if let Some(sandbox) = &root.sandbox {
        return sandbox.enter();
    }
    if let Some(namespace) = &root.namespace {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
            .when("enter the container")?;
    }
    Ok(())
}

/// The streams become the user's, so that a program that is not root can open /dev/stdout, as with Docker.
fn connect(streams: Streams, user: &User) -> Result<(), Failure> {
    let attempt = "connect the streams";
    let (input, output, errors) = match streams {
        Streams::Pipes(input, output, errors) => {
            let input = match input {
                Some(input) => input,
                None => File::open("/dev/null").when(attempt)?.into(),
            };
            (input, output, errors)
        }
        Streams::Terminal(terminal) => {
            ioctl_tiocsctty(&terminal).when("take the terminal")?;
            let copy = || terminal.try_clone().when(attempt);
            (copy()?, copy()?, terminal)
        }
    };
    if !user.uid.is_root() {
        for stream in [&input, &output, &errors] {
            // Not /dev/null, which is everybody's.
            let mode = rustix::fs::fstat(stream).when(attempt)?.st_mode;
            if mode & 0o666 != 0o666 {
                fchown(stream, Some(user.uid), None).when(attempt)?;
            }
        }
    }
    dup2_stdin(input).when(attempt)?;
    dup2_stdout(output).when(attempt)?;
    dup2_stderr(errors).when(attempt)
}

fn execute(program: &Program, user: &User, tty: bool) -> Failure {
    let Some((name, arguments)) = program.argv.split_first() else {
        return Failure("exec: no command is given".to_owned());
    };
    let mut command = Command::new(name);
    command.args(arguments).env_clear();
    command.env("PATH", DEFAULT_PATH).env("HOME", &user.home);
    if tty {
        command.env("TERM", "xterm");
    }
    // Executing looks the name up in this PATH.
    command.envs(&program.env);
    Failure(format!("exec {name}: {}", command.exec().reason()))
}

//! The host's side of a machine: starts the init in its namespaces, drains its output, serves the control socket, and
//! records how it ended.

mod cgroup;
mod connection;
mod lines;
mod output;
mod records;
mod watch;

use std::fs::File;
use std::path::Path;
use std::process::{ExitCode, exit};
use std::time::Duration;

use mayfly_guest::{ContainerExit, ExitRecord, LaunchSpec};
use mayfly_sys::{Fork, Namespaces, SignalFd, close_inherited, fork, unshare};
use rustix::event::poll;
use rustix::fs::{FlockOperation, flock};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{PidfdFlags, pidfd_open, set_child_subreaper, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::channel::{Channel, Order};
use crate::clock::{Moment, now};
use crate::failure::{Failure, While};
use crate::init::{self, Handover, Outputs};
use connection::{End, stream_pipe};
use output::{Log, Output};
use records::Status;
use watch::Monitor;

/// How long a start waits for another monitor of the directory to say what it runs, or to end.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(10);
const PREDECESSOR_POLL: Duration = Duration::from_millis(10);

const FIRST_OWN_DESCRIPTOR: i32 = 3;

/// Detaches, and answers on standard output whether the program runs.
pub(crate) fn start(run_dir: &Path) -> ExitCode {
    close_inherited();
    // A copy: the standard output itself becomes /dev/null.
    let pipe = fcntl_dupfd_cloexec(rustix::stdio::stdout(), FIRST_OWN_DESCRIPTOR).ok();
    let mut status = Status::new(pipe);
    match detach(run_dir) {
        // The monitor itself; it has no one to return to.
        Ok(Some(spec)) => {
            if let Err(failure) = monitor(run_dir, spec, &mut status) {
                status.failed(&failure.0);
            }
            exit(0)
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mayfly-init: {failure}");
            status.failed(&failure.0);
            ExitCode::FAILURE
        }
    }
}

/// Returns the launch in the process that goes on, `None` in the one the host waits for.
fn detach(run_dir: &Path) -> Result<Option<LaunchSpec>, Failure> {
    let spec = records::read_launch(run_dir)?;
    if let Fork::Parent { .. } = fork().when("detach")? {
        return Ok(None);
    }
    setsid().when("start a session")?;
    set_child_subreaper(Some(rustix::process::getpid())).when("adopt orphans")?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .when("open /dev/null")?;
    dup2_stdin(&null).when("close standard input")?;
    dup2_stdout(&null).when("close standard output")?;
    dup2_stderr(&null).when("close standard error")?;
    Ok(Some(spec))
}

fn monitor(run_dir: &Path, spec: LaunchSpec, status: &mut Status) -> Result<(), Failure> {
    // Whatever is sent to the daemon's group or service; it also spares the guest what some ancestor ignores.
    let _signals = SignalFd::block_all().when("block signals")?;
    let lock = File::open(run_dir).when("open the run directory")?;
    if !acquire(&lock, run_dir, &spec, status)? {
        return Ok(());
    }
    records::remove_old(run_dir)?;
    match launch(run_dir, &spec, status, lock) {
        Ok(()) => Ok(()),
        Err(Failure(reason)) => {
            records::write_exit(run_dir, &failed(&spec, reason.clone()))?;
            Err(Failure(reason))
        }
    }
}

/// The end of a launch that ran nothing.
fn failed(spec: &LaunchSpec, reason: String) -> ExitRecord {
    ExitRecord {
        launch_id: spec.launch_id,
        exit_code: None,
        signal: None,
        oom_killed: false,
        failure: Some(reason),
        exited_at: now(),
        containers: spec
            .containers
            .iter()
            .map(|container| ContainerExit {
                name: container.name.clone(),
                exit_code: None,
                signal: None,
            })
            .collect(),
    }
}

/// Makes this the directory's only monitor. False if the launch has been made before; then the host is answered.
fn acquire(
    lock: &File,
    run_dir: &Path,
    spec: &LaunchSpec,
    status: &mut Status,
) -> Result<bool, Failure> {
    let give_up = Moment::now().after(PREDECESSOR_PATIENCE);
    loop {
        let locked = flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if let Some(exit) = records::exit(run_dir)
            && exit.launch_id == spec.launch_id
        {
            match &exit.failure {
                Some(reason) => status.failed(reason),
                None => status.started(),
            }
            return Ok(false);
        }
        let guest = records::guest(run_dir).filter(|guest| guest.launch_id == spec.launch_id);
        match (locked, guest) {
            (false, Some(_)) => {
                status.started();
                return Ok(false);
            }
            (true, Some(_)) => {
                return Err(Failure(
                    "this launch was made before and its monitor was killed".to_owned(),
                ));
            }
            (true, None) => return Ok(true),
            (false, None) if Moment::now() >= give_up => {
                return Err(Failure(
                    "another launch of this machine still runs".to_owned(),
                ));
            }
            (false, None) => {
                let pause = Moment::now().after(PREDECESSOR_POLL).wait();
                let _ = poll(&mut [], Some(&pause));
            }
        }
    }
}

fn launch(
    run_dir: &Path,
    spec: &LaunchSpec,
    status: &mut Status,
    lock: File,
) -> Result<(), Failure> {
    let netns = spec
        .netns
        .as_ref()
        .map(|path| File::open(path).when("open the network namespace"))
        .transpose()?;
    let (mut outputs, theirs) = make_outputs(spec)?;
    let (mut ours, channel) = Channel::pair()?;
    let ooms_before = cgroup::oom_kills(&spec.cgroups);
    let pid_namespace = Namespaces {
        pid: true,
        ..Namespaces::default()
    };
    unshare(pid_namespace).when("make a pid namespace")?;
    let pid = match fork().when("start the init")? {
        Fork::Child => {
            // What is the monitor's alone.
            drop((lock, ours, outputs));
            *status = Status::new(None);
            init::run(Handover {
                spec: spec.clone(),
                channel,
                outputs: theirs,
                netns: netns.map(Into::into),
                staging: run_dir.to_owned(),
            })
        }
        Fork::Parent { child } => child,
    };
    drop((channel, theirs, netns));
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).when("watch the init")?;
    // A guest outside its cgroups has no limits: it must not run.
    cgroup::join(&spec.cgroups, pid)?;
    ours.send(&Order::Go, Vec::new());
    let names = match spec.containers.len() {
        0 | 1 => Vec::new(),
        _ => spec.containers.iter().map(|c| c.name.clone()).collect(),
    };
    let log = Log::open(&spec.log_dir, names)?;
    outputs.shrink_to_fit();
    Monitor::new(run_dir, spec, ours, (pid, pidfd), outputs, log, ooms_before)?.run(status, lock)
}

type Ends = Vec<Vec<Option<Outputs>>>;

/// Pipes for every process without a terminal: our ends, and the programs'.
fn make_outputs(spec: &LaunchSpec) -> Result<(Vec<Output>, Ends), Failure> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let mut ends = Vec::new();
        for process in &container.processes {
            if process.tty {
                ends.push(None);
                continue;
            }
            let (out_read, stdout) = stream_pipe(End::Read)?;
            let (err_read, stderr) = stream_pipe(End::Read)?;
            ours.push(Output::new(out_read, index, "stdout"));
            ours.push(Output::new(err_read, index, "stderr"));
            ends.push(Some(Outputs { stdout, stderr }));
        }
        theirs.push(ends);
    }
    Ok((ours, theirs))
}

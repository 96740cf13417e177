//! The first process of a machine: builds the roots, starts the programs, reaps, signals, and ends the machine.
//!
//! It runs as root of the host's user namespace with all its rights, so nothing inside may reach it: it cannot be traced
//! (not dumpable, and nobody inside has CAP_SYS_PTRACE), its pid 1 cannot be killed from inside its namespace, and it
//! never executes or reads as itself what the user wrote, except through [`guest_dir`].

mod guest_dir;
mod health;
mod privileges;
mod probe;
mod program;
mod root;
mod rules;
mod sandbox;
mod sftp;
mod supervisor;
mod syscall_filter;
mod system_mounts;
mod users;
mod volume;

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::exit;

use mayfly_guest::LaunchSpec;
use mayfly_sys::{Namespaces, SignalFd, raise_loopback, replace_arguments, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid, umask,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_name};

use crate::channel::{Channel, Notice, Order, Received};
use crate::failure::{Failure, While};
pub(crate) use program::set_window;
use root::ContainerRoot;
use sandbox::Sandbox;
use supervisor::Supervisor;
use volume::AttachedVolume;

/// Shown as the command line of pid 1.
const TITLE: &[u8] = b"mayfly-init";

/// What the monitor leaves to the process it forks.
pub(crate) struct Handover {
    pub(crate) spec: LaunchSpec,
    pub(crate) channel: Channel,
    /// For each container and process, where its output goes; `None` for one with a terminal.
    pub(crate) outputs: Vec<Vec<Option<Outputs>>>,
    pub(crate) netns: Option<OwnedFd>,
    /// A directory of the host to mount on, seen by nobody else.
    pub(crate) staging: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Runs the machine. The process ends with it.
pub(crate) fn run(handover: Handover) -> ! {
    let Handover {
        spec,
        mut channel,
        outputs,
        netns,
        staging,
    } = handover;
    let prepared = prepare(&spec, netns, &staging, &mut channel);
    let ended = match prepared {
        Ok((roots, signals)) => {
            Supervisor::new(&spec, roots, outputs, &mut channel).and_then(|s| s.run(&signals))
        }
        Err(failure) => Err(failure),
    };
    let notice = match ended {
        Ok(containers) => Notice::Ended {
            failure: None,
            containers,
        },
        Err(Failure(reason)) => Notice::Ended {
            failure: Some(reason),
            containers: Vec::new(),
        },
    };
    channel.send(&notice, Vec::new());
    while channel.wants_to_write() {
        let _ = poll(&mut [PollFd::new(&channel, PollFlags::OUT)], None);
        channel.flush();
    }
    exit(0);
}

fn prepare(
    spec: &LaunchSpec,
    netns: Option<OwnedFd>,
    staging: &std::path::Path,
    channel: &mut Channel,
) -> Result<(Vec<ContainerRoot>, SignalFd), Failure> {
    // Dies with the monitor: nobody would read its output or record its end.
    set_parent_process_death_signal(Some(Signal::KILL)).when("follow the monitor")?;
    setsid().when("start a session")?;
    replace_arguments(TITLE).when("hide the command line")?;
    set_name(c"mayfly-init").when("name the process")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).when("forbid tracing")?;
    // Not all hosts may; then the kernel's choice by size protects so small a process well enough.
    let _ = fs::write("/proc/self/oom_score_adj", "-999");
    let signals = SignalFd::block_all().when("take signals")?;
    umask(rustix::fs::Mode::empty());

    match netns {
        Some(netns) => move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .when("enter the network namespace")?,
        None => {
            let network = Namespaces {
                network: true,
                ..Namespaces::default()
            };
            unshare(network).when("make a network namespace")?;
            raise_loopback().when("bring up the loopback device")?;
        }
    }
    let own = Namespaces {
        mount: true,
        uts: true,
        ipc: true,
        ..Namespaces::default()
    };
    unshare(own).when("make namespaces")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).when("set the host name")?;
    let roots = build_roots(spec, staging)?;

    wait_for_go(channel)?;
    let cgroup = Namespaces {
        cgroup: true,
        ..Namespaces::default()
    };
    unshare(cgroup).when("make a cgroup namespace")?;
    Ok((roots, signals))
}

/// Each container but the main one gets a mount namespace of its own, made from the host's before that is let go; the
/// main one's is the init's.
fn build_roots(
    spec: &LaunchSpec,
    staging: &std::path::Path,
) -> Result<Vec<ContainerRoot>, Failure> {
    let mount = Namespaces {
        mount: true,
        ..Namespaces::default()
    };
    let several = spec.containers.len() > 1;
    let named = |name: &str, failure: Failure| match several {
        true => Failure(format!("container {name}: {failure}")),
        false => failure,
    };
    let volumes = spec.volumes.iter().map(AttachedVolume::attach);
    let volumes: Vec<AttachedVolume> = volumes.collect::<Result<_, _>>()?;
    let mut roots = Vec::new();
    if several {
        let host = mount_namespace()?;
        for container in spec.containers.iter().skip(1) {
            unshare(mount).when("make a mount namespace")?;
            let namespace = mount_namespace()?;
            let terminals = root::build(spec, container, &volumes, staging)
                .map_err(|failure| named(&container.name, failure))?;
            roots.push(ContainerRoot {
                namespace: Some(namespace),
                sandbox: spec.sandbox.as_ref().map(Sandbox::make).transpose()?,
                terminals,
            });
            move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Mount))
                .when("return to the host's mounts")?;
        }
    }
    let main = spec
        .containers
        .first()
        .ok_or_else(|| Failure("the launch has no container".to_owned()))?;
    let terminals =
        root::build(spec, main, &volumes, staging).map_err(|failure| named(&main.name, failure))?;
    let main = ContainerRoot {
        namespace: None,
        sandbox: spec.sandbox.as_ref().map(Sandbox::make).transpose()?,
        terminals,
    };
    roots.insert(0, main);
    Ok(roots)
}

fn mount_namespace() -> Result<OwnedFd, Failure> {
    Ok(File::open("/proc/self/ns/mnt")
        .when("open the mount namespace")?
        .into())
}

/// The monitor moves this process into its cgroups meanwhile.
fn wait_for_go(channel: &Channel) -> Result<(), Failure> {
    loop {
        match channel.receive::<Order>()? {
            Received::Message(Order::Go, _) => return Ok(()),
            Received::Message(other, _) => {
                return Err(Failure(format!("order before the start: {other:?}")));
            }
            Received::Closed => return Err(Failure("the monitor is gone".to_owned())),
            Received::Nothing => {
                poll(&mut [PollFd::new(channel, PollFlags::IN)], None)
                    .when("wait for the monitor")?;
            }
        }
    }
}

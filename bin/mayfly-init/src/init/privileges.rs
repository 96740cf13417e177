//! What a program inside may do: Docker's default capabilities without the making of devices, a system call filter, and
//! limits no higher than the daemon's own.

use mayfly_sys::{Instruction, install_seccomp_filter};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::root::ContainerRoot;
use super::users::User;
use crate::failure::{Failure, While};

/// Docker's default set. MKNOD is left out: on cgroup v2 nothing but a BPF program would stand between a device node and
/// the host's disks, and images that make device nodes at run time are rare.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// What a program keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept(CapabilitySet);

impl Kept {
    /// In a user namespace of the machine's own, also the right over that namespace.
    pub(crate) fn of(root: &ContainerRoot) -> Self {
        match root.sandbox {
            Some(_) => Kept(KEPT.union(CapabilitySet::SYS_ADMIN)),
            None => Kept(KEPT),
        }
    }
}

/// What most programs expect; higher ones make some of them close a million descriptors one by one.
const OPEN_FILES: u64 = 65_536;

/// Gives up everything but what `user` may have, for ever. The caller is about to execute the user's program.
pub(crate) fn drop_to(
    user: &User,
    Kept(kept): Kept,
    filter: &[Instruction],
) -> Result<(), Failure> {
    let attempt = "drop privileges";
    limit_resources().when("set resource limits")?;
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break, // past the last one this kernel knows
            Err(error) => return Err(error).when(attempt),
        }
    }
    clear_ambient_capability_set().when(attempt)?;
    set_thread_groups(&user.groups).when(format_args!("{attempt}: set groups"))?;
    set_thread_res_gid(user.gid, user.gid, user.gid).when(attempt)?;
    // Before the last privilege goes that installing it takes.
    install_seccomp_filter(filter).when("install the system call filter")?;
    // Leaving uid 0 clears the effective and permitted sets.
    set_thread_res_uid(user.uid, user.uid, user.uid).when(attempt)?;
    if user.uid.is_root() {
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).when(attempt)?;
    }
    Ok(())
}

fn limit_resources() -> rustix::io::Result<()> {
    let lower = |resource, wanted: u64| {
        let most = getrlimit(resource).maximum;
        let limit = Some(most.map_or(wanted, |most| most.min(wanted)));
        setrlimit(
            resource,
            Rlimit {
                current: limit,
                maximum: limit,
            },
        )
    };
    lower(Resource::Nofile, OPEN_FILES)?;
    // The host's core pattern may start a program of the host for each core.
    lower(Resource::Core, 0)
}

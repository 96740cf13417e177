//! The system calls a machine's programs may not make: in effect Docker's default profile without extra capabilities.
//!
//! A list of what is refused, not of what is allowed, because it stays short and the reasons fit beside it; that calls
//! newer than the list are unknown to programs keeps it closed. Programs of another architecture (32-bit ones) are killed
//! at their first call.

use std::collections::BTreeMap;

use mayfly_sys::Instruction;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::failure::Failure;

/// What programs in a user namespace of their own may do with it: mount, and leave for namespaces of these kinds.
const SANDBOX_CALLS: [libc::c_long; 4] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
];
const SANDBOX_NAMESPACES: [libc::c_int; 3] =
    [libc::CLONE_NEWNS, libc::CLONE_NEWUTS, libc::CLONE_NEWIPC];

/// Whose programs the filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filtered {
    Ordinary,
    /// Those in a user namespace of the machine's own.
    Sandbox,
}

/// Refused whatever their arguments.
#[rustfmt::skip]
const REFUSED: [libc::c_long; 61] = [
    // mounting, and other ways to files one cannot name
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_move_mount, libc::SYS_open_tree,
    libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    libc::SYS_fanotify_init, libc::SYS_swapon, libc::SYS_swapoff, 457, 458, // statmount, listmount
    // namespaces
    libc::SYS_setns, libc::SYS_unshare,
    // the kernel itself (174, 177, 178 are create_module, get_kernel_syms and query_module)
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, 174,
    178, 177, libc::SYS_kexec_load, libc::SYS_kexec_file_load,
    libc::SYS_reboot, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_syslog, libc::SYS_acct,
    libc::SYS_lookup_dcookie, libc::SYS_nfsservctl, libc::SYS_sysfs, libc::SYS__sysctl, libc::SYS_ustat,
    libc::SYS_uselib, libc::SYS_userfaultfd, libc::SYS_vhangup, libc::SYS_iopl, libc::SYS_ioperm,
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    // time is the host's
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex,
    // keys are not namespaced
    libc::SYS_add_key, libc::SYS_keyctl, libc::SYS_request_key,
    // other processes
    libc::SYS_kcmp, libc::SYS_move_pages, libc::SYS_migrate_pages, libc::SYS_vserver,
    libc::SYS_security, libc::SYS_tuxcall, libc::SYS_afs_syscall,
];

/// `clone` may make processes and threads, not namespaces.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Address families that reach the host's kernel past the network namespace.
const REFUSED_FAMILIES: [libc::c_int; 2] = [libc::AF_VSOCK, libc::AF_ALG];

/// Execution domains that only change what `uname` and the like answer; as Docker allows.
const ALLOWED_PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls numbered above this are newer than this list.
const NEWEST_KNOWN: u32 = 470;

/// Calls with this bit belong to the x32 interface, which the rules by number would miss.
const X32_BIT: u32 = 0x4000_0000;

/// Compiles the filter. The same for every program of a machine, so once is enough.
pub(crate) fn compile(filtered: Filtered) -> Result<Vec<Instruction>, Failure> {
    build(filtered).map_err(|error| Failure(format!("compile the system call filter: {error}")))
}

fn build(filtered: Filtered) -> Result<Vec<Instruction>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let mut namespaces = Vec::new();
    for flag in NAMESPACE_FLAGS {
        if filtered == Filtered::Sandbox && SANDBOX_NAMESPACES.contains(&flag) {
            continue;
        }
        let flag = u64::from(flag.unsigned_abs());
        let condition = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?;
        namespaces.push(SeccompRule::new(vec![condition])?);
    }
    if filtered == Filtered::Sandbox {
        for call in SANDBOX_CALLS {
            rules.remove(&call);
        }
        // Its flags are those of clone.
        rules.insert(libc::SYS_unshare, namespaces.clone());
    }
    rules.insert(libc::SYS_clone, namespaces);
    let mut families = Vec::new();
    for family in REFUSED_FAMILIES {
        let condition = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::from(family.unsigned_abs()),
        )?;
        families.push(SeccompRule::new(vec![condition])?);
    }
    rules.insert(libc::SYS_socket, families);
    let other_personality = ALLOWED_PERSONALITIES
        .into_iter()
        .map(|allowed| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, allowed))
        .collect::<Result<Vec<_>, _>>()?;
    rules.insert(
        libc::SYS_personality,
        vec![SeccompRule::new(other_personality)?],
    );
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        TargetArch::x86_64,
    )?;
    let compiled: BpfProgram = filter.try_into()?;
    let compiled = compiled.into_iter().map(|step| Instruction {
        code: step.code,
        jump_true: step.jt,
        jump_false: step.jf,
        operand: step.k,
    });
    Ok(unknown_calls().into_iter().chain(compiled).collect())
}

/// Answers "no such call" where programs know what to do without: `clone3`, whose flags a filter cannot see, so libc
/// falls back to `clone`; calls newer than this list; the x32 interface.
fn unknown_calls() -> [Instruction; 6] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const ARCHITECTURE: u32 = 4;
    const AUDIT_ARCH_X86_64: u32 = 0xC000_003E;
    let step = |code: u32, jump_true, jump_false, operand| Instruction {
        code: code as u16,
        jump_true,
        jump_false,
        operand,
    };
    // Of another architecture: let the compiled part decide. The x32 bit makes a number greater than any known one.
    const { assert!(X32_BIT > NEWEST_KNOWN) };
    [
        step(LOAD, 0, 0, ARCHITECTURE),
        step(EQUAL, 0, 4, AUDIT_ARCH_X86_64),
        step(LOAD, 0, 0, 0),
        step(EQUAL, 1, 0, libc::SYS_clone3 as u32),
        step(GREATER, 0, 1, NEWEST_KNOWN),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_twice() {
        let mut sorted = REFUSED.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), REFUSED.len());
    }

    #[test]
    fn the_filter_fits_the_kernel() {
        for filtered in [Filtered::Ordinary, Filtered::Sandbox] {
            let program = compile(filtered).unwrap();
            assert!(program.len() < 4096, "{}", program.len());
        }
    }
}

//! What a root filesystem needs of the kernel: /proc, /sys, /dev and the cgroups, cut down as OCI runtimes do.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use mayfly_sys::{MountAttributes, set_mount_attributes};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, openat, statfs, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::guest_dir::GuestDir;
use super::root::{attach, make_mount_point};
use crate::failure::{Failure, While};

/// Devices of the OCI runtime specification, all readable and writable by everybody.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Kernel memory, keys, timers and hardware of the host: not for reading.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Switches of the host: for reading only.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const QUIET: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const QUIET_READ_ONLY: MountAttrFlags = QUIET.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Mounts everything below `guest` and returns the directory of its terminals.
pub(crate) fn mount_all(guest: &GuestDir, cgroups: &[PathBuf]) -> Result<OwnedFd, Failure> {
    let proc = mount_at(guest, "/proc", new_mount("proc", &[], QUIET))?;
    ease_network(&proc);
    mount_at(guest, "/sys", new_mount("sysfs", &[], QUIET_READ_ONLY))?;
    mount_cgroups(guest, cgroups)?;
    let terminals = mount_devices(guest)?;
    hide(guest)?;
    Ok(terminals)
}

/// As Docker does: in a network namespace of its own any user may take a low port and ping. A kernel without these
/// switches only lacks the ease.
///
/// By a /proc of its own, before that is made read-only: the host's looks through all machines' settings to find one.
fn ease_network(proc: &OwnedFd) {
    for (name, value) in [
        ("ip_unprivileged_port_start", "0"),
        ("ping_group_range", "0 2147483647"),
    ] {
        let path = format!("sys/net/ipv4/{name}");
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = openat(proc, path, flags, Mode::empty()) {
            let _ = rustix::io::write(file, value.as_bytes());
        }
    }
}

fn new_mount(
    filesystem: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(context.as_fd(), *name, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Mounts at a directory of the image that must not be a link: what follows trusts these paths.
fn mount_at(
    guest: &GuestDir,
    path: &str,
    mount: rustix::io::Result<OwnedFd>,
) -> Result<OwnedFd, Failure> {
    let attempt = format_args!("mount {path}");
    let mount = mount.when(attempt)?;
    let target = match guest.find_plain_dir(path) {
        Err(Errno::NOENT) => guest.make_dirs(path)?,
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(Failure(format!("{path} of the image is not a directory")));
        }
        other => other.when(attempt)?,
    };
    attach(&mount, &target).when(attempt)?;
    Ok(mount)
}

fn mount_devices(guest: &GuestDir) -> Result<OwnedFd, Failure> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tmpfs = new_mount("tmpfs", &[("mode", "0755"), ("size", "1m")], attributes);
    let dev = mount_at(guest, "/dev", tmpfs)?;
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(
            &dev,
            name,
            FileType::CharacterDevice,
            mode,
            makedev(major, minor),
        )
        .when(format_args!("make /dev/{name}"))?;
    }
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, &dev, name).when(format_args!("make /dev/{name}"))?;
    }
    let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let mounts = [
        ("pts", new_mount("devpts", &terminals, attributes)),
        // As large as the machine's memory allows: databases put their shared buffers there.
        ("shm", new_mount("tmpfs", &[("mode", "1777")], QUIET)),
        ("mqueue", new_mount("mqueue", &[], QUIET)),
    ];
    for (name, mount) in mounts {
        let attempt = format_args!("mount /dev/{name}");
        let target = make_mount_point(&dev, name).when(attempt)?;
        match mount {
            Err(Errno::NODEV) if name == "mqueue" => {} // a kernel without message queues
            mount => attach(mount.when(attempt)?, target).when(attempt)?,
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&dev, "pts", flags, Mode::empty()).when("open /dev/pts")
}

/// Shows the machine's own cgroups, for runtimes that size themselves by their limits. Inside, after the init has
/// entered a cgroup namespace, their paths read `/`.
fn mount_cgroups(guest: &GuestDir, cgroups: &[PathBuf]) -> Result<(), Failure> {
    let attempt = "mount /sys/fs/cgroup";
    let mut v1 = Vec::new();
    for cgroup in cgroups {
        let filesystem = statfs(cgroup).when(format_args!("open cgroup {}", cgroup.display()))?;
        if filesystem.f_type == CGROUP2_MAGIC && cgroups.len() == 1 {
            let target = guest.find_plain_dir("/sys/fs/cgroup").when(attempt)?;
            return attach(read_only_view(cgroup).when(attempt)?, target).when(attempt);
        }
        if let Some(hierarchy) = hierarchy(cgroup) {
            v1.push((hierarchy.to_owned(), cgroup));
        }
    }
    if v1.is_empty() {
        return Ok(());
    }
    let tmpfs = new_mount("tmpfs", &[("mode", "0755"), ("size", "64k")], QUIET);
    let dir = mount_at(guest, "/sys/fs/cgroup", tmpfs)?;
    for (name, cgroup) in v1 {
        let target = make_mount_point(&dir, &name).when(attempt)?;
        attach(read_only_view(cgroup).when(attempt)?, target).when(attempt)?;
    }
    let read_only = MountAttributes {
        read_only: true,
        ..MountAttributes::default()
    };
    set_mount_attributes(&dir, read_only).when(attempt)
}

fn read_only_view(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    let attributes = MountAttributes {
        read_only: true,
        no_suid: true,
        no_devices: true,
        no_exec: true,
    };
    set_mount_attributes(&tree, attributes)?;
    Ok(tree)
}

/// The directory name of a v1 hierarchy: `memory` in `/sys/fs/cgroup/memory/mayfly/x`.
fn hierarchy(cgroup: &Path) -> Option<&str> {
    let inside = cgroup.strip_prefix("/sys/fs/cgroup").ok()?;
    match inside.components().next()? {
        Component::Normal(name) => name.to_str(),
        _ => None,
    }
}

fn hide(guest: &GuestDir) -> Result<(), Failure> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let null = guest.find("/dev/null").when("open /dev/null")?;
    for path in MASKED {
        let attempt = format_args!("hide {path}");
        let target = match guest.find(path) {
            Ok(target) => target,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error).when(attempt),
        };
        let stat = rustix::fs::fstat(&target).when(attempt)?;
        let cover = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            new_mount(
                "tmpfs",
                &[("size", "4k"), ("mode", "0555")],
                QUIET_READ_ONLY,
            )
        } else {
            open_tree(&null, "", clone)
        };
        attach(cover.when(attempt)?, target).when(attempt)?;
    }
    for path in READ_ONLY {
        let attempt = format_args!("protect {path}");
        let target = match guest.find(path) {
            Ok(target) => target,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error).when(attempt),
        };
        let view = open_tree(&target, "", clone).when(attempt)?;
        let read_only = MountAttributes {
            read_only: true,
            no_suid: true,
            no_devices: true,
            no_exec: true,
        };
        set_mount_attributes(&view, read_only).when(attempt)?;
        attach(view, target).when(attempt)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_is_named_by_its_mount() {
        for (path, wanted) in [
            ("/sys/fs/cgroup/memory/mayfly/x", Some("memory")),
            ("/sys/fs/cgroup/unified/x", Some("unified")),
            ("/sys/fs/cgroup", None),
            ("/run/cgroup2/x", None),
        ] {
            assert_eq!(hierarchy(Path::new(path)), wanted, "{path}");
        }
    }
}

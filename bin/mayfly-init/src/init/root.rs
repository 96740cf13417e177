//! Builds a container's root filesystem in a mount namespace of its own.
//!
//! Everything is opened and attached by descriptor while the host's files are still there; then the root is changed and
//! the host's tree let go. Nothing of the host's paths stays visible: layers are named to the kernel by descriptor
//! number, so `/proc/self/mountinfo` inside shows those.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use mayfly_guest::{ContainerLaunch, LaunchSpec, RootLaunch, Sandbox as Launch};
use mayfly_sys::{LoopAccess, MountAttributes, attach_loop_device, set_mount_attributes};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::guest_dir::GuestDir;
use super::sandbox::{self, Sandbox};
use super::system_mounts;
use super::users::User;
use super::volume::AttachedVolume;
use crate::failure::{Failure, While};

/// Beside the writable directory.
const KEPT: &str = "kept";

/// What the init keeps of a root it has built.
#[derive(Debug)]
pub(crate) struct ContainerRoot {
    /// The mount namespace; `None` for the one the init itself lives in.
    pub(crate) namespace: Option<OwnedFd>,
    /// Where its programs live instead, if they have a user namespace.
    pub(crate) sandbox: Option<Sandbox>,
    /// The directory of the container's own terminals.
    pub(crate) terminals: OwnedFd,
}

/// Turns this mount namespace, a fresh copy of the host's, into the container's. `staging` is any directory of the host.
pub(crate) fn build(
    spec: &LaunchSpec,
    container: &ContainerLaunch,
    volumes: &[AttachedVolume],
    staging: &Path,
) -> Result<OwnedFd, Failure> {
    let propagation = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", propagation).when("detach from the host's mounts")?;
    let kept = mount_layers(&container.root, spec.sandbox.as_ref(), staging)?;
    let root = open_dir(staging).when("open the root filesystem")?;
    let guest = GuestDir::new(root);
    write_identity(&guest, spec)?;
    for process in &container.processes {
        guest.make_dirs(&process.cwd)?;
    }
    mount_directories(&guest, container)?;
    for volume in volumes {
        volume.mount(&guest)?;
    }
    let main = spec.containers.first();
    if main.is_some_and(|main| main.name == container.name)
        && let Some(process) = container.processes.first()
        // Of one that does not exist, the start of the program tells.
        && let Ok(user) = User::look_up(&guest, &process.user)
    {
        for volume in volumes {
            volume.hand_over(&guest, &user)?;
        }
    }
    if let (Some(kept), Some(sandbox)) = (kept, &spec.sandbox) {
        refuse_system_path(&sandbox.kept_at)?;
        let target = guest.make_dirs(&sandbox.kept_at)?;
        attach(kept, target).when("mount what is kept")?;
    }
    for file in &container.files {
        refuse_system_path(&file.guest_path)?;
        match &file.content {
            Some(content) => guest.place(&file.guest_path, content, file.mode)?,
            None => guest.remove(&file.guest_path)?,
        }
    }
    let terminals = system_mounts::mount_all(&guest, &spec.cgroups)?;
    enter(&guest)?;
    Ok(terminals)
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Mounts the overlay on `staging`. Returns the directory that a sandbox has of its own, opened before the overlay hides
/// the disk it may be on.
fn mount_layers(
    root: &RootLaunch,
    sandbox: Option<&Launch>,
    staging: &Path,
) -> Result<Option<OwnedFd>, Failure> {
    let (upper, work) = match &root.disk_image {
        Some(image) => {
            mount_disk_image(image, staging)?;
            let inside =
                |path: &Path| -> PathBuf { staging.join(path.strip_prefix("/").unwrap_or(path)) };
            (inside(&root.upper), inside(&root.work))
        }
        None => (root.upper.clone(), root.work.clone()),
    };
    let kept = sandbox
        .map(|sandbox| keep(&upper.with_file_name(KEPT), sandbox))
        .transpose()?;
    let mut opened = Vec::new();
    for (kind, path) in [("writable", &upper), ("work", &work)] {
        std::fs::create_dir_all(path).when(format_args!("make the {kind} directory"))?;
        opened.push(open_dir(path).when(format_args!("open the {kind} directory"))?);
    }
    if root.lower.is_empty() {
        return Err(Failure("the image has no layers".to_owned()));
    }
    for (number, path) in root.lower.iter().enumerate() {
        let layer = open_dir(path).when(format_args!("open layer {number} of the image"))?;
        opened.push(layer);
    }
    let numbers: Vec<String> = opened
        .iter()
        .map(|dir| dir.as_raw_fd().to_string())
        .collect();
    // Relative to the directory of our own descriptors: short enough for 500 layers on one page, the kernel's limit
    // for both, whatever their paths are, and no host path for anybody to read.
    let options = format!(
        "upperdir={},workdir={},lowerdir={}",
        numbers[0],
        numbers[1],
        numbers[2..].join(":")
    );
    chdir("/proc/self/fd").when("open the directory of descriptors")?;
    let mounted = mount(
        "overlay",
        staging,
        "overlay",
        MountFlags::NODEV,
        Some(&*std::ffi::CString::new(options).expect("digits and punctuation")),
    );
    chdir("/").when("open the host's root")?;
    mounted.when(format_args!("mount {} layers", root.lower.len()))?;
    Ok(kept)
}

/// A directory that belongs to the sandbox's root, ready to be mounted.
fn keep(path: &Path, sandbox: &Launch) -> Result<OwnedFd, Failure> {
    let attempt = "open the directory of what is kept";
    std::fs::create_dir_all(path).when(attempt)?;
    let (uid, gid) = sandbox::owner(sandbox);
    rustix::fs::chown(path, Some(uid), Some(gid)).when(attempt)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags).when(attempt)?;
    let attributes = MountAttributes {
        no_devices: true,
        ..MountAttributes::default()
    };
    set_mount_attributes(&tree, attributes).when(attempt)?;
    Ok(tree)
}

fn mount_disk_image(image: &Path, staging: &Path) -> Result<(), Failure> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(image)
        .when("open the disk image")?;
    let (device, keep) =
        attach_loop_device(&file, LoopAccess::Cached).when("attach the disk image")?;
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    let mounted = mount(&device, staging, "ext4", flags, Some(c"discard"));
    drop(keep);
    mounted.when("mount the disk image")
}

fn write_identity(guest: &GuestDir, spec: &LaunchSpec) -> Result<(), Failure> {
    guest.place("/etc/hosts", spec.etc_hosts.as_bytes(), 0o644)?;
    guest.place("/etc/resolv.conf", spec.etc_resolv_conf.as_bytes(), 0o644)?;
    guest.place(
        "/etc/hostname",
        format!("{}\n", spec.hostname).as_bytes(),
        0o644,
    )
}

fn mount_directories(guest: &GuestDir, container: &ContainerLaunch) -> Result<(), Failure> {
    for directory in &container.mounts {
        let path = &directory.guest_path;
        refuse_system_path(path)?;
        let target = guest.make_dirs(path)?;
        let attempt = format_args!("mount a directory of the host at {path}");
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, &directory.source, flags).when(attempt)?;
        let attributes = MountAttributes {
            read_only: directory.read_only,
            no_devices: true,
            ..MountAttributes::default()
        };
        set_mount_attributes(&tree, attributes).when(attempt)?;
        attach(&tree, &target).when(attempt)?;
    }
    Ok(())
}

/// Mounts what a descriptor stands for on the directory or file another one stands for.
pub(crate) fn attach(tree: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}

/// What is placed there would be hidden by the kernel's own filesystems, or worse, reach them.
pub(super) fn refuse_system_path(path: &str) -> Result<(), Failure> {
    let first = path
        .split('/')
        .find(|part| !part.is_empty() && *part != ".");
    match first {
        Some(top @ ("proc" | "sys" | "dev")) => Err(Failure(format!(
            "{path} cannot be placed: /{top} belongs to the system"
        ))),
        None => Err(Failure(format!("{path:?} is not a path below the root"))),
        Some(_) => Ok(()),
    }
}

/// Makes the guest's root this namespace's root and lets the host's go.
fn enter(guest: &GuestDir) -> Result<(), Failure> {
    fchdir(guest).when("enter the root filesystem")?;
    pivot_root(".", ".").when("change the root")?;
    unmount(".", UnmountFlags::DETACH).when("let go of the host's files")?;
    chdir("/").when("enter the root filesystem")
}

/// Makes a directory for a mount, below a directory that is ours alone.
pub(crate) fn make_mount_point(dir: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_directories_are_not_for_files() {
        for path in [
            "/proc/sysrq-trigger",
            "//sys/x",
            "/./dev/null",
            "/proc",
            "/",
            "",
        ] {
            assert!(refuse_system_path(path).is_err(), "{path:?}");
        }
        for path in ["/etc/app.toml", "/devices/x", "/data"] {
            assert!(refuse_system_path(path).is_ok(), "{path:?}");
        }
    }
}

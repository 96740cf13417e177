use std::fs;
use std::path::Path;

use crate::cgroup::{Layout, MissingControllers};

/// Lists, in words for the operator, what this host lacks for running machines; empty when all is there.
pub fn missing_features() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root: start mayflyd as root".to_owned());
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !knows_filesystem(&filesystems, "overlay") && !can_load_module("overlay") {
        missing.push("the overlay filesystem: a kernel with CONFIG_OVERLAY_FS".to_owned());
    }
    for (name, option) in [
        ("pid", "CONFIG_PID_NS"),
        ("mnt", "CONFIG_NAMESPACES"),
        ("net", "CONFIG_NET_NS"),
        ("uts", "CONFIG_UTS_NS"),
        ("ipc", "CONFIG_IPC_NS"),
    ] {
        if !Path::new("/proc/self/ns").join(name).exists() {
            missing.push(format!("{name} namespaces: a kernel with {option}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if !root_is_mount(&mounts) {
        missing.push(
            "a root directory that is a mount of its own, with /proc in it (this is a plain chroot): in \
             `unshare --mount`, bind the tree onto itself (mount --rbind DIR DIR), mount proc in it and \
             chroot into it anew, or use systemd-nspawn"
                .to_owned(),
        );
    }
    if let Err(MissingControllers(names)) = detect_cgroups() {
        missing.push(format!(
            "cgroup controllers {}: mount them, or boot with them enabled",
            names.join(", ")
        ));
    }
    if !Path::new("/proc/sys/kernel/seccomp").exists() {
        missing.push("seccomp: a kernel with CONFIG_SECCOMP_FILTER".to_owned());
    }
    if !Path::new("/proc/sys/net/ipv6").exists() {
        missing.push("IPv6: remove ipv6.disable=1 from the kernel's command line".to_owned());
    }
    if !in_path("nft") {
        missing.push("nft: install the package nftables".to_owned());
    }
    missing
}

pub(crate) fn detect_cgroups() -> Result<Layout, MissingControllers> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    Layout::detect(&mounts, |mount| {
        fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default()
    })
}

/// Whether `/`, as this process sees it, is where a filesystem is mounted: what is not cannot be detached from the host's
/// mounts. `mountinfo` lists only what can be reached from there.
fn root_is_mount(mountinfo: &str) -> bool {
    mountinfo
        .lines()
        .any(|line| line.split(' ').nth(4) == Some("/"))
}

fn knows_filesystem(filesystems: &str, name: &str) -> bool {
    filesystems
        .lines()
        .any(|line| line.split_whitespace().last() == Some(name))
}

/// Whether the kernel will load the module at the first mount.
fn can_load_module(name: &str) -> bool {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let listed = Path::new("/lib/modules").join(release).join("modules.dep");
    let file = format!("/{name}.ko");
    fs::read_to_string(listed).is_ok_and(|text| text.contains(&file))
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_chroot_has_no_mount_at_its_root() {
        let host = "23 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                    24 23 0:21 / /proc rw - proc proc rw\n";
        let chroot =
            "60 23 0:21 / /proc rw - proc proc rw\n61 23 0:6 / /dev rw - devtmpfs dev rw\n";
        assert!(root_is_mount(host));
        assert!(!root_is_mount(chroot) && !root_is_mount(""));
    }

    #[test]
    fn filesystems_are_matched_whole() {
        let text = "nodev\tsysfs\n\text4\nnodev\toverlay\n";
        assert!(knows_filesystem(text, "overlay") && knows_filesystem(text, "ext4"));
        assert!(!knows_filesystem(text, "ext"));
    }
}

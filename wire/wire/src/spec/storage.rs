use std::collections::BTreeSet;

use mayfly_machine::{MountSpec, Persist, RootfsSpec};

use super::field::{At, InvalidConfig, absent_if_empty};
use crate::config::{MachineConfig, Mount, RootfsPersist, Volume};

/// GiB of a machine's own disk.
const ROOTFS_MAX_GIB: i64 = 1000;

pub(super) fn rootfs(config: &MachineConfig, at: &At) -> Result<RootfsSpec, InvalidConfig> {
    let rootfs = config.rootfs.as_ref();
    let deprecated = config.guest.as_ref().and_then(|guest| guest.persist_rootfs);
    let persist = match rootfs.and_then(|rootfs| rootfs.persist).or(deprecated) {
        None | Some(RootfsPersist::Never) => Persist::Never,
        Some(RootfsPersist::Restart) => Persist::Restart,
        Some(RootfsPersist::Always) => Persist::Always,
    };
    let size = rootfs.and_then(|rootfs| rootfs.size_gb);
    let size_gib = size
        .filter(|size| *size != 0)
        .map(|size| {
            at.field("rootfs")
                .field("size_gb")
                .within(size, 1, ROOTFS_MAX_GIB)
        })
        .transpose()?;
    Ok(RootfsSpec { persist, size_gib })
}

/// The mounts of volumes whose ids are known; one that only has a name gets its id from the control plane.
pub(super) fn mounts(config: &MachineConfig, at: &At) -> Result<Vec<MountSpec>, InvalidConfig> {
    let given = config.mounts.as_deref().unwrap_or_default();
    if given.len() > 1 {
        return at
            .field("mounts")
            .refuse("must have one entry at most: a machine has one volume");
    }
    let mut mounts = Vec::new();
    for (index, mount) in given.iter().enumerate() {
        let at = at.field("mounts").index(index);
        let path = self::mount(mount, &at)?;
        if let Some(volume) = absent_if_empty(mount.volume.as_ref()) {
            let volume = volume
                .parse()
                .or_else(|error| at.field("volume").refuse(format!("is invalid: {error}")))?;
            mounts.push(MountSpec { volume, path });
        }
    }
    Ok(mounts)
}

/// What is stored for the parts that will act on it: shared volumes, statics, cache drive, spot price.
pub(super) fn check(config: &MachineConfig, at: &At) -> Result<(), InvalidConfig> {
    let mut names = BTreeSet::new();
    for (index, volume) in config.volumes.iter().flatten().enumerate() {
        let at = at.field("volumes").index(index);
        self::volume(volume, &at)?;
        if !names.insert(volume.name.as_deref()) {
            return at.field("name").refuse("must be unique");
        }
    }
    for (index, files) in config.statics.iter().flatten().enumerate() {
        let at = at.field("statics").index(index);
        if absent_if_empty(files.guest_path.as_ref()).is_none() {
            return at.field("guest_path").refuse("is required");
        }
        if !files
            .url_prefix
            .as_deref()
            .is_some_and(|path| path.starts_with('/'))
        {
            return at.field("url_prefix").refuse("must begin with /");
        }
    }
    if let Some(size) = config.cache_drive.as_ref().and_then(|drive| drive.size_mb) {
        let at = at.field("cache_drive").field("size_mb");
        at.within::<i64>(size, 0, 1 << 24)?;
    }
    let price = config
        .spot
        .as_ref()
        .and_then(|spot| spot.max_price_fraction);
    if price.is_some_and(|price| !(price > 0.0 && price <= 1.0)) {
        return at
            .field("spot")
            .field("max_price_fraction")
            .refuse("must be above 0 and at most 1");
    }
    Ok(())
}

/// Holds the rules of a mount and returns its path.
fn mount(mount: &Mount, at: &At) -> Result<String, InvalidConfig> {
    let path = at.field("path").absolute_path(mount.path.as_ref())?;
    if !MountSpec::may_be_at(&path) {
        return at
            .field("path")
            .refuse("must not be in /proc, /sys, /dev or /.fly, which are the host's");
    }
    let volume = absent_if_empty(mount.volume.as_ref());
    if volume.or(absent_if_empty(mount.name.as_ref())).is_none() {
        return at
            .field("volume")
            .refuse("is required: the id of a volume (or name, with the name of one)");
    }
    let sizes = [
        ("size_gb", mount.size_gb, 500_000),
        (
            "extend_threshold_percent",
            mount.extend_threshold_percent,
            99,
        ),
        ("add_size_gb", mount.add_size_gb, 500_000),
        ("size_gb_limit", mount.size_gb_limit, 500_000),
    ];
    for (name, value, most) in sizes {
        at.field(name).within::<i64>(value.unwrap_or(0), 0, most)?;
    }
    Ok(path)
}

fn volume(volume: &Volume, at: &At) -> Result<(), InvalidConfig> {
    if absent_if_empty(volume.name.as_ref()).is_none() {
        return at.field("name").refuse("is required");
    }
    match (&volume.temp_dir, absent_if_empty(volume.image.as_ref())) {
        (Some(dir), None) => {
            let at = at.field("temp_dir");
            match dir.storage_type.as_deref() {
                Some("disk" | "memory") => {}
                _ => return at.field("storage_type").one_of(&["disk", "memory"]),
            }
            at.field("size_mb")
                .within::<i64>(dir.size_mb.unwrap_or(0), 0, 1 << 24)?;
            Ok(())
        }
        (None, Some(_)) => super::image(volume.image.as_ref(), &at.field("image")).map(drop),
        _ => at.refuse("must have either temp_dir or image"),
    }
}

use std::fs::File;
use std::io;
use std::path::Path;

use mayfly_sys::{LoopAccess, attach_loop_device};
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsopen};

use super::superblock::Superblock;
use super::tools::{self, Checked, Start};
use super::{VolumeHealth, hold};

/// See [`super::Volumes::ready`].
pub(super) fn ready(image: &Path) -> io::Result<VolumeHealth> {
    let superblock = Superblock::read(&hold(image)?);
    let start = match superblock {
        Ok(_) => Start::Superblock,
        Err(_) => Start::Copy,
    };
    let sound = superblock.is_ok_and(|superblock| !superblock.has_errors());
    let mut health = VolumeHealth::Good;
    if !sound || try_mount(image).is_err() {
        match tools::check_filesystem(image, &hold(image)?, start)? {
            Checked::Broken(said) => return Ok(VolumeHealth::Damaged(said)),
            Checked::Repaired(said) => health = VolumeHealth::Repaired(said),
            Checked::Clean => {}
        }
        if let Err(error) = try_mount(image) {
            let reason = format!("it does not mount: {error}");
            return Ok(VolumeHealth::Damaged(reason));
        }
    }
    match fill(image, &hold(image)?)? {
        Checked::Clean => Ok(health),
        Checked::Repaired(said) => Ok(VolumeHealth::Repaired(said)),
        Checked::Broken(said) => Ok(VolumeHealth::Damaged(said)),
    }
}

/// Lets the filesystem fill the image, which is `held`, if it does not.
pub(super) fn fill(image: &Path, held: &File) -> io::Result<Checked> {
    let bytes = held.metadata()?.len();
    if !Superblock::read(held)?.is_within(bytes) {
        return Ok(Checked::Clean);
    }
    let checked = tools::check_filesystem(image, held, Start::Superblock)?;
    if !matches!(checked, Checked::Broken(_)) {
        tools::fill_image(image, held)?;
    }
    Ok(checked)
}

/// Has the kernel mount it where nobody sees it, which also brings to an end what a crash interrupted.
fn try_mount(image: &Path) -> io::Result<()> {
    let (device, keep) = attach_loop_device(hold(image)?, LoopAccess::Direct)?;
    let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", &device)?;
    // Writes nothing if nothing was interrupted: no start waits for a disk because of a trial.
    fsconfig_set_flag(&context, "ro")?;
    let mounted = fsconfig_create(&context);
    drop((context, keep));
    Ok(mounted?)
}

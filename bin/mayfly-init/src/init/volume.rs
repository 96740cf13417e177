use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use mayfly_guest::VolumeLaunch;
use mayfly_sys::{LoopAccess, attach_loop_device};
use mayfly_types::VolumeId;
use rustix::event::poll;
use rustix::fs::{AtFlags, FlockOperation, chownat, flock, fstat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::guest_dir::GuestDir;
use super::root::refuse_system_path;
use super::users::User;
use crate::clock::Moment;
use crate::failure::{Failure, While};

/// A check of the host's may be about to let go of it.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
const BUSY_POLL: Duration = Duration::from_millis(5);

/// The image is thin: what was never written reads as zeros, so its tables of inodes need no writing of zeros. What files
/// leave goes back to the host. After an error nothing is written any more.
const OPTIONS: &CStr = c"noinit_itable,discard,errors=remount-ro";

/// The disk of a volume as this machine's block device.
///
/// The device holds the image's lock until the last mount of it is gone, which is when the machine's last process is:
/// no daemon has to remember it, and no two kernels' views of one disk can come to be.
#[derive(Debug)]
pub(super) struct AttachedVolume {
    volume_id: VolumeId,
    guest_path: String,
    device: PathBuf,
    /// Until it is mounted.
    _keep: File,
}

impl AttachedVolume {
    pub(super) fn attach(volume: &VolumeLaunch) -> Result<AttachedVolume, Failure> {
        let attempt = format_args!("attach volume {}", volume.volume_id);
        let image = File::options()
            .read(true)
            .write(true)
            .open(&volume.image)
            .when(attempt)?;
        lock(&image).when(attempt)?;
        let (device, keep) = attach_loop_device(&image, LoopAccess::Direct).when(attempt)?;
        Ok(AttachedVolume {
            volume_id: volume.volume_id,
            guest_path: volume.guest_path.clone(),
            device,
            _keep: keep,
        })
    }

    /// Shows it in a root filesystem, at a directory that is made if it is missing.
    pub(super) fn mount(&self, guest: &GuestDir) -> Result<(), Failure> {
        let path = &self.guest_path;
        refuse_system_path(path)?;
        let target = guest.make_dirs(path)?;
        // By descriptor: the path may lead through links that only hold inside.
        let target = format!("/proc/self/fd/{}", target.as_raw_fd());
        mount(&self.device, target, "ext4", MountFlags::NODEV, OPTIONS)
            .when(format_args!("mount volume {} at {path}", self.volume_id))
    }

    /// Gives the directory of the mount, not what is in it, to who the machine's program runs as: images that do not run
    /// as root could write nothing else. So does Fly's.
    pub(super) fn hand_over(&self, guest: &GuestDir, user: &User) -> Result<(), Failure> {
        let attempt = format_args!("hand over volume {}", self.volume_id);
        let root = guest.find(&self.guest_path).when(attempt)?;
        let found = fstat(&root).when(attempt)?;
        if (found.st_uid, found.st_gid) == (user.uid.as_raw(), user.gid.as_raw()) {
            return Ok(());
        }
        let (uid, gid) = (Some(user.uid), Some(user.gid));
        chownat(&root, "", uid, gid, AtFlags::EMPTY_PATH).when(attempt)
    }
}

fn lock(image: &File) -> rustix::io::Result<()> {
    let give_up = Moment::now().after(BUSY_PATIENCE);
    loop {
        match flock(image, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Moment::now() < give_up => {
                let pause = Moment::now().after(BUSY_POLL).wait();
                let _ = poll(&mut [], Some(&pause));
            }
            Err(Errno::WOULDBLOCK) => return Err(Errno::BUSY),
            other => return other,
        }
    }
}

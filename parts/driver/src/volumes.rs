//! The disks of volumes: one sparse image each, in `volumes/<id>/`.
//!
//! Nothing of a volume is mounted on the host. The init of a machine attaches the image and mounts it in the machine's own
//! namespace, so the kernel takes both back with the machine's last process, whoever was killed before. What keeps two
//! from using one disk at once is the image's lock (`flock`): the loop device holds it as long as it is there, and so does
//! whoever checks, grows or removes the disk.

mod check;
mod live;
mod superblock;
mod tools;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mayfly_host_api::{VolumeSpace, VolumeSpec};
use mayfly_types::VolumeId;
use rustix::fs::{FlockOperation, flock};

pub(crate) use live::LiveMount;
use superblock::Superblock;

use crate::trash::Trash;

const IMAGE: &str = "disk.ext4";
/// What was being made when the daemon ended; nobody has written to it.
const UNFINISHED: &str = "disk.new";

/// How long a disk may be in use by somebody who is about to let go of it: a check, a guest that ends.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
const BUSY_POLL: Duration = Duration::from_millis(10);

/// What is known of a volume's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeDisk {
    pub size_gib: u32,
    /// What it takes of the host's disk.
    pub stored_bytes: u64,
    pub space: Option<VolumeSpace>,
    /// Its filesystem is smaller than the disk.
    pub needs_restart: bool,
}

/// How a volume can be given to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeHealth {
    Good,
    /// It could not be used as it was; what the check said while it repaired it.
    Repaired(String),
    /// It cannot be used, and no repeated try will change that; why.
    Damaged(String),
}

/// The volumes in one directory. Every call blocks.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    directory: PathBuf,
    trash: Trash,
}

impl Volumes {
    pub(crate) fn open(directory: PathBuf, trash: Trash) -> io::Result<Volumes> {
        fs::create_dir_all(&directory)?;
        // As the kernel names the images it has loop devices of.
        let directory = directory.canonicalize()?;
        Ok(Volumes { directory, trash })
    }

    pub(crate) fn image(&self, volume: VolumeId) -> PathBuf {
        self.home(volume).join(IMAGE)
    }

    fn home(&self, volume: VolumeId) -> PathBuf {
        self.directory.join(volume.as_str())
    }

    /// Makes the disk, or finds it. Either all of it is there afterwards or nothing.
    pub(crate) fn make(&self, spec: &VolumeSpec) -> io::Result<()> {
        let home = self.home(spec.volume_id);
        if home.join(IMAGE).exists() {
            return Ok(());
        }
        let made = make_disk(&home, spec.size_gib);
        if made.is_err() {
            self.trash.throw(&home, spec.volume_id.as_str())?;
        }
        made
    }

    /// Makes the disk larger, and its filesystem if that can be now. Whether it takes a restart of the machine to see it.
    pub(crate) fn grow(
        &self,
        volume: VolumeId,
        size_gib: u32,
        mount: impl Fn() -> Option<LiveMount>,
    ) -> io::Result<bool> {
        let image = self.image(volume);
        let file = open(&image)?;
        let bytes = u64::from(size_gib) << 30;
        if file.metadata()?.len() < bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        let give_up = Instant::now() + BUSY_PATIENCE;
        loop {
            if try_lock(&file)? {
                return check::fill(&image, &file).map(|_| false);
            }
            if let Some(mount) = mount().filter(|mount| mount.is_of(&image)) {
                return Ok(mount.fill().is_err());
            }
            if Instant::now() >= give_up {
                return Ok(true);
            }
            std::thread::sleep(BUSY_POLL);
        }
    }

    /// Makes sure that the disk mounts, repairing it if need be, and that its filesystem fills it.
    pub(crate) fn ready(&self, volume: VolumeId) -> io::Result<VolumeHealth> {
        let image = self.image(volume);
        match check::ready(&image) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !image.exists() => {
                let reason = format!("there is no {}", image.display());
                Ok(VolumeHealth::Damaged(reason))
            }
            other => other,
        }
    }

    /// Removes the disk; absent is success.
    pub(crate) fn remove(&self, volume: VolumeId) -> io::Result<()> {
        let held = match hold(&self.image(volume)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        let removed = self.trash.throw(&self.home(volume), volume.as_str());
        drop(held);
        removed
    }

    /// `mount` is asked for where the disk is mounted now, if it is.
    pub(crate) fn look(
        &self,
        volume: VolumeId,
        mount: impl FnOnce() -> Option<LiveMount>,
    ) -> io::Result<Option<VolumeDisk>> {
        let image = self.image(volume);
        let found = match fs::metadata(&image) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let live = mount().filter(|mount| mount.is_of(&image));
        let superblock = match &live {
            Some(mount) => mount.superblock(),
            None => Superblock::read(&File::open(&image)?),
        };
        let superblock = superblock.ok();
        let space = match &live {
            Some(mount) => mount.space().ok(),
            None => superblock.map(|superblock| superblock.space()),
        };
        Ok(Some(VolumeDisk {
            size_gib: u32::try_from(found.len() >> 30).unwrap_or(u32::MAX),
            stored_bytes: found.blocks() * 512,
            space,
            needs_restart: superblock.is_some_and(|superblock| superblock.is_within(found.len())),
        }))
    }
}

fn make_disk(home: &Path, size_gib: u32) -> io::Result<()> {
    fs::create_dir_all(home)?;
    let beside = home.join(UNFINISHED);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&beside)?;
    lock(&file)?;
    // What was there is gone, also what an earlier, interrupted making had written.
    file.set_len(0)?;
    file.set_len(u64::from(size_gib) << 30)?;
    tools::make_filesystem(&beside, &file)?;
    file.sync_all()?;
    fs::rename(&beside, home.join(IMAGE))?;
    for directory in [Some(home), home.parent()].into_iter().flatten() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn open(image: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(image)
}

/// The image, locked as soon as nobody else has it.
fn hold(image: &Path) -> io::Result<File> {
    let file = open(image)?;
    lock(&file)?;
    Ok(file)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn lock(file: &File) -> io::Result<()> {
    let give_up = Instant::now() + BUSY_PATIENCE;
    while !try_lock(file)? {
        if Instant::now() >= give_up {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "its disk is in use",
            ));
        }
        std::thread::sleep(BUSY_POLL);
    }
    Ok(())
}

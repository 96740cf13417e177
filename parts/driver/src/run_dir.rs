//! The run directory of a machine: what was launched, whether it still runs, how it ended.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mayfly_guest::{
    CONTROL_SOCKET, EXIT_FILE, ExitRecord, GUEST_FILE, GuestRecord, LAUNCH_FILE, LaunchSpec,
    VolumeLaunch,
};
use mayfly_types::{LaunchId, Timestamp};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the driver itself remembers of a launch, beside the files of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostNote {
    /// Process ids of another boot mean nothing.
    pub(crate) boot_id: String,
    /// What the size allows: where a lifted CPU limit returns to.
    pub(crate) millicpus: u32,
}

const NOTE_FILE: &str = "host.json";

#[derive(Debug)]
pub(crate) enum GuestState {
    /// No launch of this boot.
    Absent,
    /// Prepared, and perhaps starting at this moment: the daemon ended before it heard.
    Prepared(LaunchId),
    Alive(GuestRecord, OwnedFd),
    /// The guest record is missing if nothing ever ran.
    Ended(Option<GuestRecord>, ExitRecord),
    /// Monitor and guest were killed together.
    Lost(GuestRecord),
}

#[derive(Clone, Debug)]
pub(crate) struct RunDir(PathBuf);

impl RunDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        RunDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn note(&self) -> io::Result<Option<HostNote>> {
        self.read(NOTE_FILE)
    }

    /// The volumes of the launch.
    pub(crate) fn volumes(&self) -> io::Result<Vec<VolumeLaunch>> {
        let launch = self.read::<LaunchVolumes>(LAUNCH_FILE)?;
        Ok(launch.map(|launch| launch.volumes).unwrap_or_default())
    }

    /// What is there; `boot_id` is the running kernel's.
    pub(crate) fn state(&self, boot_id: &str) -> io::Result<GuestState> {
        let Some(spec) = self.read::<LaunchHead>(LAUNCH_FILE)? else {
            return Ok(GuestState::Absent);
        };
        let guest: Option<GuestRecord> = self.read(GUEST_FILE)?;
        let this_boot = self.note()?.is_some_and(|note| note.boot_id == boot_id);
        if this_boot
            && let Some(guest) = &guest
            && let Some(monitor) = open_process(guest.monitor_pid, guest.monitor_start_ticks)
        {
            return Ok(GuestState::Alive(guest.clone(), monitor));
        }
        // Read after the look at the process: a monitor writes it before it ends.
        if let Some(exit) = self.read::<ExitRecord>(EXIT_FILE)?
            && exit.launch_id == spec.launch_id
        {
            return Ok(GuestState::Ended(guest, exit));
        }
        Ok(match guest {
            _ if !this_boot => GuestState::Absent,
            Some(guest) => GuestState::Lost(guest),
            None => GuestState::Prepared(spec.launch_id),
        })
    }

    /// Whether a monitor of this directory lives, also one that has not written anything yet.
    pub(crate) fn is_monitored(&self) -> io::Result<bool> {
        let directory = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directory hold this launch and nothing of an earlier one. The launch file comes last: where it is,
    /// everything it names is.
    pub(crate) fn prepare(&self, spec: &LaunchSpec, note: &HostNote) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        self.clear()?;
        self.write(NOTE_FILE, note)?;
        self.write(LAUNCH_FILE, spec)
    }

    /// Removes the files of a launch; absent is success. The launch file goes first.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for name in [
            LAUNCH_FILE,
            GUEST_FILE,
            EXIT_FILE,
            CONTROL_SOCKET,
            NOTE_FILE,
        ] {
            match fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Records the end of a guest whose monitor did not live to do it.
    pub(crate) fn record_lost(
        &self,
        guest: &GuestRecord,
        now: Timestamp,
    ) -> io::Result<ExitRecord> {
        let exit = ExitRecord {
            launch_id: guest.launch_id,
            exit_code: None,
            signal: Some(9),
            oom_killed: false,
            failure: None,
            exited_at: now,
            containers: Vec::new(),
        };
        self.write(EXIT_FILE, &exit)?;
        Ok(exit)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let beside = self.0.join(format!("{name}.new"));
        fs::write(&beside, serde_json::to_vec(value)?)?;
        fs::rename(&beside, self.0.join(name))
    }
}

/// The only part of a launch that matters once it is made.
#[derive(Deserialize)]
struct LaunchHead {
    launch_id: LaunchId,
}

#[derive(Deserialize)]
struct LaunchVolumes {
    #[serde(default)]
    volumes: Vec<VolumeLaunch>,
}

/// A handle on the process, if it is the one that began at `start_ticks` and has not ended.
fn open_process(pid: u32, start_ticks: u64) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Looked at after the handle was taken: the handle is of the process that is read about.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    let began: u64 = fields.nth(18)?.parse().ok()?;
    (!ended && began == start_ticks).then_some(handle)
}

/// The id of the running kernel's boot.
pub(crate) fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

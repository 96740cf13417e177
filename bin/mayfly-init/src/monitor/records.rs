//! The files a monitor leaves for the host, and the one line it owes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use mayfly_guest::{
    EXIT_FILE, ExitRecord, FAILED, GUEST_FILE, GuestRecord, LAUNCH_FILE, LaunchSpec, STARTED,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, While};

const VERSION: u32 = 1;

/// Where the host waits for one line.
#[derive(Debug)]
pub(crate) struct Status(Option<File>);

impl Status {
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        Status(pipe.map(File::from))
    }

    pub(crate) fn started(&mut self) {
        self.say(STARTED);
    }

    pub(crate) fn failed(&mut self, reason: &str) {
        self.say(&format!("{FAILED} {}", reason.replace('\n', " ")));
    }

    /// Only the first line counts. A host that no longer listens is its own business.
    fn say(&mut self, line: &str) {
        if let Some(mut pipe) = self.0.take() {
            let _ = pipe.write_all(format!("{line}\n").as_bytes());
        }
    }
}

pub(crate) fn read_launch(run_dir: &Path) -> Result<LaunchSpec, Failure> {
    let content = fs::read(run_dir.join(LAUNCH_FILE)).when("read launch.json")?;
    let spec: LaunchSpec = serde_json::from_slice(&content).when("read launch.json")?;
    if spec.version != VERSION {
        return Err(Failure(format!(
            "launch.json has version {}, this monitor knows {VERSION}",
            spec.version
        )));
    }
    Ok(spec)
}

/// Takes environments and files out of `launch.json`: what runs has them, and they hold secrets.
pub(crate) fn forget_secrets(run_dir: &Path) -> Result<(), Failure> {
    let mut spec = read_launch(run_dir)?;
    for container in &mut spec.containers {
        container.files.clear();
        for process in &mut container.processes {
            process.env.clear();
        }
    }
    write(run_dir, LAUNCH_FILE, &spec, Durability::UntilPowerCut).when("write launch.json")
}

pub(crate) fn guest(run_dir: &Path) -> Option<GuestRecord> {
    read(&run_dir.join(GUEST_FILE))
}

pub(crate) fn exit(run_dir: &Path) -> Option<ExitRecord> {
    read(&run_dir.join(EXIT_FILE))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

pub(crate) fn write_guest(run_dir: &Path, record: &GuestRecord) -> Result<(), Failure> {
    write(run_dir, GUEST_FILE, record, Durability::UntilPowerCut).when("write guest.json")
}

pub(crate) fn write_exit(run_dir: &Path, record: &ExitRecord) -> Result<(), Failure> {
    write(run_dir, EXIT_FILE, record, Durability::OnDisk).when("write exit.json")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    UntilPowerCut,
    OnDisk,
}

fn write(
    dir: &Path,
    name: &str,
    record: &impl Serialize,
    durability: Durability,
) -> io::Result<()> {
    let content = serde_json::to_vec(record)?;
    let beside = dir.join(format!(".{name}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(&content)?;
    if durability == Durability::OnDisk {
        file.sync_data()?;
    }
    fs::rename(&beside, dir.join(name))?;
    if durability == Durability::OnDisk {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Removes what an earlier launch left.
pub(crate) fn remove_old(run_dir: &Path) -> Result<(), Failure> {
    for name in [GUEST_FILE, EXIT_FILE, mayfly_guest::CONTROL_SOCKET] {
        match fs::remove_file(run_dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).when(format_args!("remove the old {name}"));
            }
            _ => {}
        }
    }
    Ok(())
}

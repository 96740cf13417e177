//! What machines used: kept in memory, and in a file beside the journal, sparingly. It is no promise to anybody: a file that
//! cannot be read is begun anew.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use mayfly_machine::{GuestSize, Usage, UsageHistory, UsageSample};
use mayfly_types::MachineId;
use serde::{Deserialize, Serialize};
use tracing::warn;

const VERSION: u32 = 1;

/// The histories of all machines of a host.
pub(crate) struct Measures {
    path: PathBuf,
    histories: Mutex<BTreeMap<MachineId, UsageHistory>>,
}

/// The file's shape.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    machines: BTreeMap<MachineId, UsageHistory>,
}

impl Measures {
    /// Takes up what was measured before. Blocking.
    pub(crate) fn open(path: PathBuf) -> Self {
        let histories = match read(&path) {
            Ok(kept) => kept.machines,
            Err(error) => {
                warn!(path = %path.display(), %error, "measurements not read; they begin anew");
                BTreeMap::new()
            }
        };
        Measures {
            path,
            histories: Mutex::new(histories),
        }
    }

    pub(crate) fn record(&self, machine: MachineId, size: GuestSize, sample: UsageSample) {
        let mut histories = self.histories();
        let history = histories
            .entry(machine)
            .or_insert_with(|| UsageHistory::new(size));
        history.record(size, sample);
    }

    /// Keeps the histories of those machines only.
    pub(crate) fn retain(&self, exists: impl Fn(MachineId) -> bool) {
        self.histories().retain(|machine, _| exists(*machine));
    }

    pub(crate) fn usage(&self, machine: MachineId) -> Option<Usage> {
        self.histories().get(&machine)?.usage()
    }

    /// Writes all down, such that a crash leaves the file as it was or as it shall be. Blocking.
    pub(crate) fn save(&self) -> io::Result<()> {
        let kept = Kept {
            version: VERSION,
            machines: self.histories().clone(),
        };
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }

    fn histories(&self) -> MutexGuard<'_, BTreeMap<MachineId, UsageHistory>> {
        self.histories
            .lock()
            .expect("no holder of this lock panics")
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Kept {
                version: VERSION,
                machines: BTreeMap::new(),
            });
        }
        read => read?,
    };
    let kept: Kept = serde_json::from_slice(&bytes)?;
    if kept.version != VERSION {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("version {}, this program knows {VERSION}", kept.version),
        ));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mayfly_types::Timestamp;

    use super::*;

    /// As version 1 writes it: must be read for ever.
    const V1: &str = r#"{"version":1,"machines":{"MACHINE":{"size":{"cpu_kind":"shared","cpus":1,"memory_mib":256},
        "windows":[{"since":"1970-01-01T00:00:00.000Z","measured_ms":15000,"memory_mib":{"seen":[[32,1]],"sum":68,"peak":68},
        "cpu_millis":{"seen":[[5,1]],"sum":5,"peak":5}}]}}}"#;

    #[test]
    fn what_was_measured_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("usage.json");
        let (machine, size) = (MachineId::from_random([1; 14]), GuestSize::default());
        let measures = Measures::open(path.clone());
        let sample = UsageSample {
            at: Timestamp::from_millis(15_000),
            span: Duration::from_secs(15),
            memory_mib: 68,
            cpu_millis: 5,
        };
        measures.record(machine, size, sample);
        measures.save().unwrap();
        let found = Measures::open(path.clone());
        assert!(found.usage(machine).is_some());
        assert_eq!(found.usage(machine), measures.usage(machine));
        found.retain(|_| false);
        assert_eq!(found.usage(machine), None);

        let old = V1.replace("MACHINE", machine.as_str());
        fs::write(&path, old).unwrap();
        let read = Measures::open(path.clone());
        assert_eq!(read.usage(machine), measures.usage(machine));

        for broken in ["", "{\"version\":9,\"machines\":{}}"] {
            fs::write(&path, broken).unwrap();
            let anew = Measures::open(path.clone());
            assert_eq!(anew.usage(machine), None);
            anew.record(machine, size, sample);
            anew.save().unwrap();
            assert!(Measures::open(path.clone()).usage(machine).is_some());
        }
    }
}

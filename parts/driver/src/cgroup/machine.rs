use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mayfly_types::MachineId;
use rustix::process::{Pid, Signal, kill_process};

use super::layout::{Hierarchy, Layout, Version};
use super::limits::{CPU_PERIOD_US, Limits, quota_us};

/// The cgroups of one machine; they may or may not exist.
pub(crate) struct MachineCgroup<'a> {
    layout: &'a Layout,
    name: MachineId,
}

/// How long the kernel may take to stop all tasks, or to let a cgroup go whose tasks have ended.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_micros(100);
const PAUSE_MOST: Duration = Duration::from_millis(10);

/// What a machine may open on version 1: null, zero, full, random, urandom, tty, ptmx and terminals.
const DEVICES: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];
/// What the init opens to mount a disk of limited size, before anything of the machine's runs.
const DISK_DEVICES: [&str; 2] = ["c 10:237 rwm", "b 7:* rwm"];

impl<'a> MachineCgroup<'a> {
    pub(super) fn new(layout: &'a Layout, name: MachineId) -> Self {
        MachineCgroup { layout, name }
    }

    pub(super) fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// The directories a guest joins.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let bases = self.layout.bases();
        bases
            .into_iter()
            .map(|base| base.join(self.name.as_str()))
            .collect()
    }

    /// Makes what is missing and sets all limits.
    pub(crate) fn create(&self, limits: &Limits) -> io::Result<()> {
        for directory in self.directories() {
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        self.limit_memory(limits)?;
        self.set(&self.layout.pids, "pids.max", limits.tasks)?;
        match self.layout.cpu.version {
            Version::V1 => self.set(&self.layout.cpu, "cpu.shares", limits.shares())?,
            Version::V2 => self.set(&self.layout.cpu, "cpu.weight", limits.weight())?,
        }
        self.limit_cpu(Some(limits.millicpus))?;
        if let Some(devices) = &self.layout.devices {
            self.set(devices, "devices.deny", "a")?;
            for rule in DEVICES.iter().chain(&DISK_DEVICES) {
                self.set(devices, "devices.allow", rule)?;
            }
        }
        Ok(())
    }

    fn limit_memory(&self, limits: &Limits) -> io::Result<()> {
        let memory = &self.layout.memory;
        match memory.version {
            Version::V1 => {
                self.set(memory, "memory.limit_in_bytes", limits.memory_bytes)?;
                let both = limits.memory_bytes + limits.swap_bytes;
                self.set_if_known(memory, "memory.memsw.limit_in_bytes", both)
            }
            Version::V2 => {
                self.set(memory, "memory.max", limits.memory_bytes)?;
                self.set_if_known(memory, "memory.swap.max", limits.swap_bytes)
            }
        }
    }

    /// Takes back the right to the devices that mounting the disk needed.
    pub(crate) fn close_disk_devices(&self) -> io::Result<()> {
        let Some(devices) = &self.layout.devices else {
            return Ok(());
        };
        for rule in DISK_DEVICES {
            self.set(devices, "devices.deny", rule)?;
        }
        Ok(())
    }

    /// Sets how much CPU may be used, in thousandths of one; `None` lifts the limit.
    pub(crate) fn limit_cpu(&self, millicpus: Option<u32>) -> io::Result<()> {
        let cpu = &self.layout.cpu;
        match cpu.version {
            Version::V1 => {
                let quota = millicpus.map_or("-1".to_owned(), |m| quota_us(m).to_string());
                self.set(cpu, "cpu.cfs_quota_us", quota)
            }
            Version::V2 => {
                let quota = millicpus.map_or("max".to_owned(), |m| quota_us(m).to_string());
                self.set(cpu, "cpu.max", format!("{quota} {CPU_PERIOD_US}"))
            }
        }
    }

    /// CPU time used so far, in microseconds.
    pub(crate) fn cpu_used_us(&self) -> io::Result<u64> {
        let usage = &self.layout.usage;
        match usage.version {
            Version::V1 => {
                let nanos: u64 = parse(&self.get(usage, "cpuacct.usage")?)?;
                Ok(nanos / 1000)
            }
            Version::V2 => parse(&value_of(&self.get(usage, "cpu.stat")?, "usage_usec")),
        }
    }

    /// The ids of all processes in the machine, as the host sees them.
    pub(crate) fn processes(&self) -> io::Result<Vec<u32>> {
        let text = self.get(&self.layout.freezer, "cgroup.procs")?;
        text.lines().map(parse).collect()
    }

    pub(crate) fn is_frozen(&self) -> io::Result<bool> {
        let freezer = &self.layout.freezer;
        Ok(match freezer.version {
            Version::V1 => self.get(freezer, "freezer.state")?.trim() == "FROZEN",
            Version::V2 => value_of(&self.get(freezer, "cgroup.events")?, "frozen") == "1",
        })
    }

    /// Stops every task and returns once all are stopped.
    pub(crate) async fn freeze(&self) -> io::Result<()> {
        self.write_freeze(true)?;
        let frozen = wait(|| self.is_frozen()).await;
        if frozen.is_err() {
            self.write_freeze(false)?;
        }
        frozen
    }

    pub(crate) async fn thaw(&self) -> io::Result<()> {
        self.write_freeze(false)?;
        wait(|| self.is_frozen().map(|frozen| !frozen)).await
    }

    /// Kills every task that is there now, also frozen ones, and ones that fork meanwhile.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        let freezer = &self.layout.freezer;
        if freezer.version == Version::V2 && self.path(freezer, "cgroup.kill").exists() {
            return self.set(freezer, "cgroup.kill", 1);
        }
        // Nothing forks while it is frozen; the signals act at the thaw.
        self.write_freeze(true)?;
        let _ = wait(|| self.is_frozen()).await;
        for pid in self.processes()? {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL); // gone is as good
            }
        }
        self.write_freeze(false)
    }

    /// Removes all directories once their tasks are gone, with whatever cgroups the guest made below.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        for directory in self.directories() {
            wait(|| match remove_tree(&directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
                other => other.map(|()| true),
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) fn exists(&self) -> bool {
        let freezer = &self.layout.freezer;
        freezer.base.join(self.name.as_str()).exists()
    }

    fn write_freeze(&self, frozen: bool) -> io::Result<()> {
        let freezer = &self.layout.freezer;
        match (freezer.version, frozen) {
            (Version::V1, true) => self.set(freezer, "freezer.state", "FROZEN"),
            (Version::V1, false) => self.set(freezer, "freezer.state", "THAWED"),
            (Version::V2, frozen) => self.set(freezer, "cgroup.freeze", u8::from(frozen)),
        }
    }

    fn path(&self, hierarchy: &Hierarchy, file: &str) -> PathBuf {
        let mut path = hierarchy.base.join(self.name.as_str());
        path.push(file);
        path
    }

    pub(super) fn set(
        &self,
        hierarchy: &Hierarchy,
        file: &str,
        value: impl ToString,
    ) -> io::Result<()> {
        fs::write(self.path(hierarchy, file), value.to_string())
    }

    /// For files that exist only when the kernel counts swap.
    fn set_if_known(
        &self,
        hierarchy: &Hierarchy,
        file: &str,
        value: impl ToString,
    ) -> io::Result<()> {
        match self.set(hierarchy, file, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    pub(super) fn get(&self, hierarchy: &Hierarchy, file: &str) -> io::Result<String> {
        fs::read_to_string(self.path(hierarchy, file))
    }
}

/// Waits for a fact of the kernel that comes within microseconds nearly always, and for which it tells nobody.
async fn wait(mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    let mut pause = PAUSE_FIRST;
    while !holds()? {
        if Instant::now() >= give_up {
            return Err(io::ErrorKind::TimedOut.into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

/// The rest of the line that begins with `key`.
pub(super) fn value_of(text: &str, key: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap_or_default().trim().to_owned()
}

pub(super) fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.trim()
        .parse()
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use mayfly_machine::GuestSize;

    use super::*;

    /// A directory that looks like a pure version 2 mount, down to one instance.
    fn pretended_v2() -> (tempfile::TempDir, Layout) {
        let mount = tempfile::tempdir().unwrap();
        for directory in ["", "mayfly", "mayfly/ab12"] {
            let directory = mount.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cgroup.subtree_control"), "pids\n").unwrap();
        }
        let line = format!("cgroup2 {} cgroup2 rw 0 0", mount.path().display());
        let layout = Layout::detect(&line, |_| "cpu memory pids".to_owned()).unwrap();
        let layout = layout.prepare("ab12").unwrap();
        (mount, layout)
    }

    #[tokio::test]
    async fn version_2_is_written_in_its_own_words() {
        let (mount, layout) = pretended_v2();
        let enabled = fs::read_to_string(mount.path().join("mayfly/cgroup.subtree_control"));
        assert_eq!(
            enabled.unwrap(),
            "+memory +cpu",
            "what is enabled stays as it is"
        );
        let machine = MachineId::from_random([1; 14]);
        let cgroup = layout.machine(machine);
        let size = GuestSize::preset("performance-2x").unwrap();
        cgroup.create(&Limits::of(size, 512)).unwrap();
        let [directory] = &cgroup.directories()[..] else {
            panic!("one hierarchy");
        };
        let written = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        assert_eq!(written("memory.max"), (4096_u64 << 20).to_string());
        assert_eq!(written("memory.swap.max"), (512 << 20).to_string());
        assert_eq!(written("pids.max"), "16384");
        assert_eq!(written("cpu.weight"), "200");
        assert_eq!(written("cpu.max"), "200000 100000");
        cgroup.limit_cpu(None).unwrap();
        assert_eq!(written("cpu.max"), "max 100000");

        fs::write(directory.join("cpu.stat"), "usage_usec 42\nuser_usec 1\n").unwrap();
        assert_eq!(cgroup.cpu_used_us().unwrap(), 42);

        fs::write(directory.join("memory.current"), (300 << 20).to_string()).unwrap();
        fs::write(
            directory.join("memory.stat"),
            "anon 1\ninactive_file 4096\n",
        )
        .unwrap();
        cgroup.set_memory(512 << 20).unwrap();
        assert_eq!(written("memory.max"), (512 << 20).to_string());
        let memory = cgroup.memory().unwrap();
        assert_eq!((memory.used, memory.spare), (300 << 20, 4096));
        // Files do not shrink by being asked to: what is in use stays, and so does the limit.
        let refused = cgroup.set_memory(256 << 20).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(written("memory.reclaim"), (44 << 20).to_string());
        assert_eq!(written("memory.max"), (512 << 20).to_string());
        fs::write(directory.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        cgroup.freeze().await.unwrap();
        assert_eq!(written("cgroup.freeze"), "1");
        fs::write(directory.join("cgroup.kill"), "").unwrap();
        cgroup.kill().await.unwrap();
        assert_eq!(written("cgroup.kill"), "1");
        assert_eq!(layout.machines().unwrap(), [machine]);
    }
}

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mayfly_types::MachineId;

use super::machine::MachineCgroup;

/// Where a controller's files are, and in which language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    /// The directory that holds a directory per machine; the mount point until [`Layout::prepare`].
    pub(crate) base: PathBuf,
}

/// The hierarchies machines are put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) memory: Hierarchy,
    pub(crate) pids: Hierarchy,
    pub(crate) cpu: Hierarchy,
    /// Version 1 only; version 2 decides by programs, and there dropped capabilities and mount flags must do.
    pub(crate) devices: Option<Hierarchy>,
    /// Freezes, and on version 2 also kills.
    pub(crate) freezer: Hierarchy,
    /// Counts used CPU time.
    pub(crate) usage: Hierarchy,
}

/// Controllers that are mounted nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingControllers(pub(crate) Vec<&'static str>);

/// Where processes of ours are put that stand in the way of enabling controllers.
const OWN_LEAF: &str = "mayfly-host";

impl Layout {
    /// Finds the hierarchies in the text of `/proc/self/mounts`. `controllers_of` reads a version 2 mount's
    /// `cgroup.controllers`.
    pub(crate) fn detect(
        mounts: &str,
        controllers_of: impl Fn(&Path) -> String,
    ) -> Result<Layout, MissingControllers> {
        let mut v1: BTreeMap<&str, PathBuf> = BTreeMap::new();
        let mut v2: Option<PathBuf> = None;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(path), Some(kind), Some(options)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            match kind {
                "cgroup" => {
                    for option in options.split(',') {
                        v1.entry(option).or_insert_with(|| PathBuf::from(path));
                    }
                }
                "cgroup2" => v2 = v2.or_else(|| Some(PathBuf::from(path))),
                _ => {}
            }
        }
        let unified: Vec<String> = v2
            .as_deref()
            .map(|path| {
                controllers_of(path)
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default();
        let find = |name: &str| -> Option<Hierarchy> {
            if let Some(path) = v1.get(name) {
                return Some(Hierarchy {
                    version: Version::V1,
                    base: path.clone(),
                });
            }
            let base = v2
                .clone()
                .filter(|_| unified.iter().any(|have| have == name))?;
            Some(Hierarchy {
                version: Version::V2,
                base,
            })
        };
        // Version 2 freezes and counts in every cgroup, with or without controllers.
        let plain_v2 = || {
            v2.clone().map(|base| Hierarchy {
                version: Version::V2,
                base,
            })
        };
        let wanted = [
            ("memory", find("memory")),
            ("pids", find("pids")),
            ("cpu", find("cpu")),
            ("freezer", plain_v2().or_else(|| find("freezer"))),
            ("cpuacct", plain_v2().or_else(|| find("cpuacct"))),
        ];
        let missing: Vec<&'static str> = wanted
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| *name)
            .collect();
        let [
            Some(memory),
            Some(pids),
            Some(cpu),
            Some(freezer),
            Some(usage),
        ] = wanted.map(|(_, found)| found)
        else {
            return Err(MissingControllers(missing));
        };
        Ok(Layout {
            memory,
            pids,
            cpu,
            devices: find("devices").filter(|found| found.version == Version::V1),
            freezer,
            usage,
        })
    }

    /// Makes `mayfly/<instance>` in every hierarchy and enables controllers down to it; from then on the bases are those.
    pub(crate) fn prepare(mut self, instance: &str) -> io::Result<Layout> {
        let below = Path::new("mayfly").join(instance);
        let wanted: Vec<&str> = [
            ("memory", &self.memory),
            ("pids", &self.pids),
            ("cpu", &self.cpu),
        ]
        .into_iter()
        .filter(|(_, hierarchy)| hierarchy.version == Version::V2)
        .map(|(name, _)| name)
        .collect();
        // There is one version 2 mount at most, however many controllers it has.
        let mut unified = None;
        for hierarchy in self.all_mut() {
            let root = hierarchy.base.clone();
            hierarchy.base = root.join(&below);
            fs::create_dir_all(&hierarchy.base)?;
            if hierarchy.version == Version::V2 {
                unified = Some(root);
            }
        }
        if let Some(root) = unified.filter(|_| !wanted.is_empty()) {
            for directory in [root.clone(), root.join("mayfly"), root.join(&below)] {
                enable(&directory, &wanted)?;
            }
        }
        Ok(self)
    }

    /// Removes this instance's directories, which must hold no machine any more, and what they stand in if no other
    /// instance does. Absent is success.
    pub(crate) fn dismantle(&self) -> io::Result<()> {
        for base in self.bases() {
            match fs::remove_dir(base) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if let Some(all) = base.parent() {
                fs::remove_dir(all).ok();
            }
        }
        Ok(())
    }

    pub(crate) fn machine(&self, machine: MachineId) -> MachineCgroup<'_> {
        MachineCgroup::new(self, machine)
    }

    /// Machines that have a cgroup anywhere.
    pub(crate) fn machines(&self) -> io::Result<Vec<MachineId>> {
        let mut machines = Vec::new();
        for base in self.bases() {
            for entry in fs::read_dir(base)? {
                let name = entry?.file_name();
                machines.extend(
                    name.to_str()
                        .and_then(|name| name.parse::<MachineId>().ok()),
                );
            }
        }
        machines.sort();
        machines.dedup();
        Ok(machines)
    }

    /// The directories of all hierarchies, each once.
    pub(crate) fn bases(&self) -> Vec<&Path> {
        let mut bases: Vec<&Path> = Vec::new();
        for hierarchy in [
            Some(&self.memory),
            Some(&self.pids),
            Some(&self.cpu),
            self.devices.as_ref(),
            Some(&self.freezer),
            Some(&self.usage),
        ]
        .into_iter()
        .flatten()
        {
            if !bases.contains(&&*hierarchy.base) {
                bases.push(&hierarchy.base);
            }
        }
        bases
    }

    /// For people: `v1`, `v2` or `hybrid`.
    pub(crate) fn describe(&self) -> &'static str {
        match (self.memory.version, self.freezer.version) {
            (Version::V2, _) => "v2",
            (Version::V1, Version::V2) => "hybrid",
            (Version::V1, Version::V1) => "v1",
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Hierarchy> {
        let Layout {
            memory,
            pids,
            cpu,
            devices,
            freezer,
            usage,
        } = self;
        [memory, pids, cpu, freezer, usage]
            .into_iter()
            .chain(devices)
    }
}

/// Lets the children of `directory` use the controllers.
fn enable(directory: &Path, controllers: &[&str]) -> io::Result<()> {
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    let line: Vec<String> = controllers
        .iter()
        .filter(|name| !enabled.split_whitespace().any(|have| have == **name))
        .map(|name| format!("+{name}"))
        .collect();
    if line.is_empty() {
        return Ok(());
    }
    match fs::write(&file, line.join(" ")) {
        // Only the true root may hold processes beside children with controllers. Inside a container the root is not
        // the true one: what is in it (we) moves aside.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            make_room(directory)?;
            fs::write(&file, line.join(" "))
        }
        other => other,
    }
}

fn make_room(directory: &Path) -> io::Result<()> {
    let leaf = directory.join(OWN_LEAF);
    fs::create_dir_all(&leaf)?;
    let processes = fs::read_to_string(directory.join("cgroup.procs"))?;
    for pid in processes.lines() {
        match fs::write(leaf.join("cgroup.procs"), pid) {
            Err(error) if error.raw_os_error() != Some(3) => return Err(error), // ESRCH: ended meanwhile
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_BY_ONE: &str = "\
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,relatime,devices 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
";
    const UNIFIED: &str = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    const PURE: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";

    fn detect(mounts: &str, controllers: &str) -> Result<Layout, MissingControllers> {
        Layout::detect(mounts, |_| controllers.to_owned())
    }

    #[test]
    fn every_mixture_of_versions_is_recognised() {
        let v1 = detect(ONE_BY_ONE, "").unwrap();
        assert_eq!((v1.describe(), v1.bases().len()), ("v1", 6));
        let hybrid = detect(&format!("{ONE_BY_ONE}{UNIFIED}"), "hugetlb\n").unwrap();
        assert_eq!(hybrid.describe(), "hybrid");
        assert_eq!(hybrid.freezer.base, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(hybrid.bases().len(), 5, "no freezer, no cpuacct");
        let v2 = detect(PURE, "cpuset cpu io memory pids").unwrap();
        assert_eq!((v2.describe(), v2.bases().len()), ("v2", 1));
        assert_eq!(v2.devices, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |mounts, controllers| detect(mounts, controllers).unwrap_err().0;
        assert_eq!(missing(PURE, "cpu io"), ["memory", "pids"]);
        assert_eq!(missing("", "").len(), 5);
    }
}

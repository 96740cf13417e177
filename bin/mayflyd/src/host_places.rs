//! Which regions this server plays, and where the host of each keeps its journal.
//!
//! A host is its journal: identity, machines, promises. So the file `hosts.json` remembers which region has which
//! journal, whatever the configuration says today. A region that is not wanted any more is served on while machines
//! live in it; after that its journal rests until the region is wanted again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use mayfly_types::Region;
use serde::{Deserialize, Serialize};

/// The region of a server that was never told one.
const DEFAULT_REGION: &str = "iad";
/// Where the first host keeps its journal; the only one when there is one region.
const FIRST: &str = "host";
const FILE: &str = "hosts.json";
const VERSION: u32 = 1;

/// One region of this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostPlace {
    pub(crate) region: Region,
    /// Below the data directory.
    journal: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u32,
    hosts: Vec<HostPlace>,
}

impl HostPlace {
    pub(crate) fn journal_dir(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(&self.journal)
    }

    /// What the driver calls the host; `None` for the first, which needs no name.
    pub(crate) fn name(&self) -> Option<String> {
        (self.journal != Path::new(FIRST)).then(|| self.journal.display().to_string())
    }
}

/// Every host with a journal in this data directory, those that rest included.
pub(crate) fn all(data_dir: &Path) -> anyhow::Result<Vec<HostPlace>> {
    let mut places = remembered(data_dir)?;
    if places.is_empty() {
        // Made by a program that knew one host only.
        places = plan(Vec::new(), &[], &[]).run;
    }
    places.retain(|place| place.journal_dir(data_dir).join("journal.db").exists());
    Ok(places)
}

fn remembered(data_dir: &Path) -> anyhow::Result<Vec<HostPlace>> {
    let path = data_dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let remembered: Remembered =
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
    anyhow::ensure!(
        remembered.version == VERSION,
        "{} has version {}, this program knows {VERSION}",
        path.display(),
        remembered.version
    );
    Ok(remembered.hosts)
}

/// Decides which hosts run: those of the `wanted` regions first, in that order, then those in which machines `live`;
/// without a wish those that ran before. What was decided is remembered.
pub(crate) async fn decide(
    data_dir: &Path,
    wanted: &[Region],
    lives: impl AsyncFn(&HostPlace) -> anyhow::Result<bool>,
) -> anyhow::Result<Vec<HostPlace>> {
    let known = remembered(data_dir)?;
    let mut kept = Vec::new();
    for place in &known {
        if !wanted.is_empty() && !wanted.contains(&place.region) && lives(place).await? {
            kept.push(place.region.clone());
        }
    }
    let plan = plan(known, wanted, &kept);
    let remembered = Remembered {
        version: VERSION,
        hosts: plan.remembered,
    };
    let path = data_dir.join(FILE);
    let fresh = path.with_extension("json.new");
    fs::write(&fresh, serde_json::to_vec_pretty(&remembered)?)
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(plan.run)
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    run: Vec<HostPlace>,
    remembered: Vec<HostPlace>,
}

fn plan(mut known: Vec<HostPlace>, wanted: &[Region], kept: &[Region]) -> Plan {
    let wanted: Vec<Region> = if wanted.is_empty() {
        known.iter().map(|place| place.region.clone()).collect()
    } else {
        wanted.iter().chain(kept).cloned().collect()
    };
    let wanted = if wanted.is_empty() {
        vec![DEFAULT_REGION.parse().expect("a region's code")]
    } else {
        wanted
    };
    // A server with one region that is told another moves there with its machines.
    if let ([only], [region]) = (known.as_mut_slice(), wanted.as_slice()) {
        only.region = region.clone();
    }
    let mut run = Vec::with_capacity(wanted.len());
    for region in wanted {
        let found = known.iter().find(|place| place.region == region).cloned();
        let place = found.unwrap_or_else(|| {
            let first = Path::new(FIRST);
            let first_is_taken = known.iter().any(|place| place.journal == first);
            HostPlace {
                journal: if first_is_taken {
                    Path::new("hosts").join(region.as_str())
                } else {
                    first.to_owned()
                },
                region,
            }
        });
        if !known.contains(&place) {
            known.push(place.clone());
        }
        run.push(place);
    }
    // The order of the wish is that of the next start without one.
    known.retain(|place| !run.contains(place));
    let remembered = run.iter().cloned().chain(known).collect();
    Plan { run, remembered }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(codes: &str) -> Vec<Region> {
        codes
            .split_whitespace()
            .map(|code| code.parse().unwrap())
            .collect()
    }

    fn shown(places: &[HostPlace]) -> String {
        let lines = places
            .iter()
            .map(|place| format!("{}={}", place.region, place.journal.display()));
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_region_keeps_its_journal_whatever_is_wanted() {
        let mut known = Vec::new();
        for (wanted, kept, run) in [
            ("", "", "iad=host"),
            // One region moves with all it has.
            ("ams", "", "ams=host"),
            ("fra ams", "", "fra=hosts/fra ams=host"),
            ("", "", "fra=hosts/fra ams=host"),
            ("ams nrt", "fra", "ams=host nrt=hosts/nrt fra=hosts/fra"),
            ("nrt", "", "nrt=hosts/nrt"),
            ("ams fra", "", "ams=host fra=hosts/fra"),
        ] {
            let plan = plan(known, &regions(wanted), &regions(kept));
            assert_eq!(shown(&plan.run), run, "wanted {wanted}");
            known = plan.remembered;
        }
        assert_eq!(shown(&known), "ams=host fra=hosts/fra nrt=hosts/nrt");
    }
}

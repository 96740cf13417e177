use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_types::{MachineId, Region, Timestamp};

/// A machine with as much as its soft limit, in the unit of loads.
pub const FULL: u64 = 1000;

/// After failures one waits longer, at most so long.
const PATIENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// How many machines there shall be at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub min: usize,
    pub max: usize,
}

/// How fast numbers follow the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A region must be full for so long before it gets a machine, and so long after the last change.
    pub busy_for: Duration,
    /// A region must have had little to do for so long before it loses one.
    pub quiet_for: Duration,
    /// So long after a change at least none is destroyed.
    pub cool_down: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            busy_for: Duration::from_secs(30),
            quiet_for: Duration::from_secs(10 * 60),
            cool_down: Duration::from_secs(60),
        }
    }
}

/// What a machine can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing, whatever comes: cordoned, unhealthy, or stopped and not started by requests.
    Out,
    /// It rests until a request wakes it.
    Resting,
    /// It is on its way up.
    Coming,
    Running,
}

/// A machine of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub id: MachineId,
    pub region: Region,
    pub standing: Standing,
    /// What it has to do, in thousandths of its soft limit.
    pub load: u64,
    /// Made by this rule, which may destroy it again.
    pub ours: bool,
    pub created_at: Timestamp,
}

/// What edges say of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// No edge is heard.
    Unknown,
    /// Some edges are not heard: there is this much to do, or more.
    AtLeast { waiting: u64 },
    /// What waits for a machine, in thousandths of a soft limit.
    All { waiting: u64 },
}

impl Load {
    fn waiting(self) -> u64 {
        match self {
            Load::Unknown => 0,
            Load::AtLeast { waiting } | Load::All { waiting } => waiting,
        }
    }
}

/// The machines that one rule counts, and what is known when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    pub bounds: Bounds,
    pub pace: Pace,
    pub machines: &'a [Scaled],
    pub load: Load,
    /// What comes in at `home` and goes to machines that the rule does not count, in thousandths of a soft limit.
    pub demand: u64,
    /// Where the first machine goes.
    pub home: &'a Region,
    /// When the last change ended.
    pub changed_at: Option<Timestamp>,
    /// Changes that failed since the last that did not.
    pub failures: u32,
    pub now: Timestamp,
}

/// Since when a region is full, or has little to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    full: BTreeMap<Region, Timestamp>,
    quiet: BTreeMap<Region, Timestamp>,
    /// A rule without machines has much to do elsewhere.
    wanted: Option<Timestamp>,
}

/// One change, and why, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resize {
    Grow { region: Region, why: String },
    Shrink { machine: MachineId, why: String },
}

/// Says whether a group gets or loses a machine now. `since` is carried from one look to the next; losing it only makes
/// the rule wait anew.
///
/// A region is *full* when its machines together have as much to do as their soft limits, which is when each of them has:
/// edges fill machines up to there before they go on. It is *quiet* when one machine less would have at most half of that.
/// Between the two nothing happens, so that no number of machines leads to the other and back under one load. A machine
/// that rests is for the edges to wake: none is made while there is one, or one on its way. A rule that has no machine gets its
/// first when half of a soft limit has to go elsewhere; it loses that one when nothing is left to do.
pub fn autoscale(scope: &Scope<'_>, since: &mut Since) -> Option<Resize> {
    let Scope { bounds, pace, .. } = *scope;
    let total = scope.machines.len();
    let regions = Regions::of(scope);
    since.note(&regions, scope);
    let settled = |wait: Duration| {
        let changed = scope.changed_at.map(|at| scope.now.since(at));
        changed.is_none_or(|ago| ago >= patience(wait, scope.failures))
    };
    if total < bounds.min {
        let first_try = scope.failures == 0;
        if !first_try && !settled(pace.busy_for) {
            return None;
        }
        let fewest = regions.0.iter().min_by_key(|(_, region)| region.count);
        return Some(Resize::Grow {
            region: fewest.map_or_else(|| scope.home.clone(), |(region, _)| region.clone()),
            why: format!("{total} of at least {} machines", bounds.min),
        });
    }
    if total > bounds.max && settled(pace.cool_down) {
        let all = scope.machines.iter();
        let surplus = least_needed(all.filter(|machine| machine.ours));
        return surplus.map(|machine| Resize::Shrink {
            machine: machine.id,
            why: format!("{total} machines, at most {} are wanted", bounds.max),
        });
    }
    if total == 0
        && bounds.max > 0
        && settled(pace.busy_for)
        && let Some(at) = since.wanted
        && scope.now.since(at) >= pace.busy_for
    {
        let percent = scope.demand * 100 / FULL;
        return Some(Resize::Grow {
            region: scope.home.clone(),
            why: format!(
                "no machine in {}, where {percent} % of a soft limit comes in, for {} s",
                scope.home,
                pace.busy_for.as_secs()
            ),
        });
    }
    let awaited =
        |machine: &Scaled| matches!(machine.standing, Standing::Coming | Standing::Resting);
    if total < bounds.max
        && settled(pace.busy_for)
        && !scope.machines.iter().any(awaited)
        && let Some(region) = since.longest_full(scope.now, pace.busy_for)
    {
        return Some(Resize::Grow {
            region: region.clone(),
            why: regions.0[region].sentence(region, pace.busy_for),
        });
    }
    if total > bounds.min && settled(pace.cool_down) {
        let quiet = scope.machines.iter().filter(|machine| {
            let began = since.quiet.get(&machine.region);
            machine.ours && began.is_some_and(|at| scope.now.since(*at) >= pace.quiet_for)
        });
        return least_needed(quiet).map(|machine| Resize::Shrink {
            machine: machine.id,
            why: regions.0[&machine.region].sentence(&machine.region, pace.quiet_for),
        });
    }
    None
}

/// What does nothing goes first, then the newest.
fn least_needed<'a>(machines: impl Iterator<Item = &'a Scaled>) -> Option<&'a Scaled> {
    machines.min_by_key(|machine| {
        let newest = std::cmp::Reverse((machine.created_at, machine.id));
        (machine.standing, newest)
    })
}

fn patience(wait: Duration, failures: u32) -> Duration {
    let longer = wait.saturating_mul(1 << failures.min(10));
    longer.min(PATIENCE_MAX.max(wait))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InRegion {
    /// All machines.
    count: usize,
    /// Those that can take something.
    able: u64,
    load: u64,
}

impl InRegion {
    fn is_full(&self) -> bool {
        self.able > 0 && self.load >= self.able * FULL
    }

    fn is_quiet(&self) -> bool {
        self.load * 2 <= self.able.saturating_sub(1) * FULL
    }

    fn sentence(&self, region: &Region, time: Duration) -> String {
        let machines = match self.able {
            1 => "1 machine has".to_owned(),
            able => format!("{able} machines have"),
        };
        let percent = self.load * 100 / (self.able.max(1) * FULL);
        format!(
            "{machines} {percent} % of the soft limit to do in {region}, for {} s",
            time.as_secs()
        )
    }
}

struct Regions(BTreeMap<Region, InRegion>);

impl Regions {
    fn of(scope: &Scope<'_>) -> Self {
        let mut regions: BTreeMap<Region, InRegion> = BTreeMap::new();
        for machine in scope.machines {
            let region = regions.entry(machine.region.clone()).or_default();
            region.count += 1;
            if machine.standing != Standing::Out {
                region.able += 1;
                region.load += machine.load;
            }
        }
        // Whoever waits found no room anywhere: it counts where there is least.
        let fullest = regions
            .values_mut()
            .filter(|region| region.able > 0)
            .max_by_key(|region| region.load / region.able);
        if let Some(fullest) = fullest {
            fullest.load += scope.load.waiting();
        }
        Self(regions)
    }
}

impl Since {
    fn note(&mut self, regions: &Regions, scope: &Scope<'_>) {
        let note =
            |times: &mut BTreeMap<Region, Timestamp>, is_known: bool, is: fn(&InRegion) -> bool| {
                times.retain(|region, _| is_known && regions.0.get(region).is_some_and(is));
                for (name, region) in &regions.0 {
                    if is_known && is(region) {
                        times.entry(name.clone()).or_insert(scope.now);
                    }
                }
            };
        let (some, all) = match scope.load {
            Load::Unknown => (false, false),
            Load::AtLeast { .. } => (true, false),
            Load::All { .. } => (true, true),
        };
        let is_wanted = some && scope.machines.is_empty() && scope.demand * 2 >= FULL;
        self.wanted = is_wanted.then(|| self.wanted.unwrap_or(scope.now));
        note(&mut self.full, some, InRegion::is_full);
        note(&mut self.quiet, all, InRegion::is_quiet);
    }

    fn longest_full(&self, now: Timestamp, busy_for: Duration) -> Option<&Region> {
        let long = self
            .full
            .iter()
            .filter(|(_, at)| now.since(**at) >= busy_for);
        long.min_by_key(|(_, at)| **at).map(|(region, _)| region)
    }
}

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mayfly_types::{MachineId, Region};
use serde::{Deserialize, Serialize};

use crate::{Readiness, Rules, Strategy};

/// A process group of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// Where the machines go of a group that has none yet, one for each.
    pub first_machines: Vec<Region>,
    /// Whether a stopped machine is made that stands in for the first.
    pub standby_at_first: bool,
    /// Regions in which a group that has machines gets one if it has none there.
    pub regions: Vec<Region>,
}

/// One machine of the app, as the deployment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MachineId,
    pub group: String,
    pub region: Region,
    /// How far it is with the release; `None` if it does not have it.
    pub release: Option<Readiness>,
    /// Made by this release, not changed by it.
    pub made: bool,
    /// Which of its group's first machines it is.
    pub number: Option<usize>,
    /// The machine it shall replace (blue-green).
    pub replaces: Option<MachineId>,
    /// It cannot get the release in place: another takes its place, and then it goes.
    pub remounts: bool,
    /// Made to try the release out, and taken away again.
    pub canary: bool,
    /// Stands in for another.
    pub standby: bool,
    /// Its program runs or is about to.
    pub running: bool,
    pub cordoned: bool,
    /// Somebody else holds its lease.
    pub leased: bool,
}

/// How far a deployment has come; stored, so that it never falls back behind what users have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Canary,
    Machines,
    /// Blue-green: the new machines take over. From here on there is no way back.
    Switch,
}

/// One thing to be done to a machine. Every one may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The `number`-th machine of a group that had none.
    Create {
        group: String,
        region: Region,
        number: usize,
    },
    /// The first machine in a region of a group that has others elsewhere.
    Settle {
        group: String,
        region: Region,
    },
    CreateStandby {
        group: String,
        of: MachineId,
    },
    /// The `number`-th further machine of a group in a region: only [`crate::scale`] says so.
    Add {
        group: String,
        region: Region,
        number: usize,
    },
    CreateCanary {
        group: String,
    },
    /// A machine with the release beside `blue`, without requests.
    CreateGreen {
        blue: MachineId,
    },
    Update(MachineId),
    /// A machine with the release that takes the place of this one.
    Replace(MachineId),
    Uncordon(MachineId),
    /// Takes an old machine into traffic again.
    Reopen(MachineId),
    Cordon(MachineId),
    Stop(MachineId),
    Destroy(MachineId),
}

/// What a look at the machines came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Act(Vec<Step>),
    Enter(Stage),
    /// Look again when something has changed.
    Wait,
    Done,
    Failed(String),
}

/// Machines that run nothing are changed so many at a time: nobody waits for them.
const RESTING_AT_ONCE: usize = 30;

/// What is to be done now that the app's machines are as they are.
pub fn next(rules: &Rules, groups: &[Group], members: &[Member], stage: Stage) -> Turn {
    if stage != Stage::Switch
        && let Some(reason) = broken(members, stage)
    {
        return Turn::Failed(reason);
    }
    let view = View { groups, members };
    match (stage, rules.strategy) {
        (Stage::Canary, _) => view.canaries(),
        (Stage::Machines, Strategy::BlueGreen) => view.greens(),
        (Stage::Machines, _) => view.roll(rules),
        (Stage::Switch, Strategy::BlueGreen) => match view.back() {
            Some(back) => back,
            None => view.switch(),
        },
        (Stage::Switch, _) => view.switch(),
    }
}

fn broken(members: &[Member], stage: Stage) -> Option<String> {
    members.iter().find_map(|member| match &member.release {
        // A canary that has done its work is on its way out.
        _ if member.canary && stage != Stage::Canary => None,
        Some(Readiness::Broken(why)) => Some(reason(member, why)),
        _ => None,
    })
}

fn reason(member: &Member, why: &str) -> String {
    format!("machine {} of group {}: {why}", member.id, member.group)
}

struct View<'a> {
    groups: &'a [Group],
    members: &'a [Member],
}

impl<'a> View<'a> {
    /// The machines of a group that are there to stay.
    fn of(&self, group: &str) -> impl Iterator<Item = &'a Member> {
        let members = self.members.iter();
        members.filter(move |member| member.group == group && !member.canary)
    }

    fn is_known(&self, member: &Member) -> bool {
        self.groups.iter().any(|group| group.name == member.group)
    }

    /// A canary for every group whose machines run.
    fn canaries(&self) -> Turn {
        let mut steps = Vec::new();
        let mut all_up = true;
        for group in self.groups {
            if !self.of(&group.name).any(|member| member.running) {
                continue;
            }
            let canary = self
                .members
                .iter()
                .find(|member| member.canary && member.group == group.name);
            match canary {
                None => steps.push(Step::CreateCanary {
                    group: group.name.clone(),
                }),
                Some(canary) => all_up &= is_up(canary),
            }
        }
        match (steps.is_empty(), all_up) {
            (false, _) => Turn::Act(steps),
            (true, true) => Turn::Enter(Stage::Machines),
            (true, false) => Turn::Wait,
        }
    }

    fn roll(&self, rules: &Rules) -> Turn {
        let leftovers = self
            .members
            .iter()
            .filter(|member| member.canary || !self.is_known(member));
        let mut steps: Vec<Step> = leftovers.map(|member| Step::Destroy(member.id)).collect();
        let mut waiting = !steps.is_empty();
        for group in self.groups {
            steps.extend(self.first_machines(group));
        }
        let at_once = rules.strategy == Strategy::Immediate;
        let fresh_waits = self
            .members
            .iter()
            .any(|member| member.made && !member.canary && !is_up(member));
        waiting |= fresh_waits;
        if at_once || (steps.is_empty() && !fresh_waits) {
            for group in self.groups {
                let (changes, more) = self.changes(rules, &group.name);
                steps.extend(changes);
                waiting |= more;
            }
        }
        match (steps.is_empty(), waiting) {
            (false, _) => Turn::Act(steps),
            (true, true) => Turn::Wait,
            (true, false) => Turn::Done,
        }
    }

    /// The machines a group lacks that had none before this release, or none in a region it is to be in.
    fn first_machines(&self, group: &Group) -> Vec<Step> {
        let there: Vec<&Member> = self.of(&group.name).collect();
        if there
            .iter()
            .any(|member| !member.made || member.replaces.is_some())
        {
            return settlers(group, &there);
        }
        let regular: Vec<&&Member> = there.iter().filter(|member| !member.standby).collect();
        let is_there = |number| regular.iter().any(|member| member.number == Some(number));
        let mut steps: Vec<Step> = group
            .first_machines
            .iter()
            .enumerate()
            .filter(|(number, _)| !is_there(*number))
            .map(|(number, region)| Step::Create {
                group: group.name.clone(),
                region: region.clone(),
                number,
            })
            .collect();
        let has_standby = there.iter().any(|member| member.standby);
        if group.standby_at_first
            && !has_standby
            && let Some(first) = regular.iter().min_by_key(|member| member.number)
        {
            steps.push(Step::CreateStandby {
                group: group.name.clone(),
                of: first.id,
            });
        }
        steps
    }

    /// Which machines of a group get the release now, and whether some are still on their way.
    fn changes(&self, rules: &Rules, group: &str) -> (Vec<Step>, bool) {
        let mut steps = Vec::new();
        let mut waiting = false;
        for running in [true, false] {
            let pool: Vec<&Member> = self
                .of(group)
                .filter(|member| member.running == running && !member.made && !member.remounts)
                .collect();
            let old: Vec<&&Member> = pool
                .iter()
                .filter(|member| member.release.is_none())
                .collect();
            let on_their_way = pool
                .iter()
                .filter(|member| member.release == Some(Readiness::Waiting))
                .count();
            waiting |= !old.is_empty() || on_their_way > 0;
            let at_once = match rules.strategy {
                Strategy::Immediate => pool.len(),
                // The first of each kind goes ahead alone.
                _ if old.len() + on_their_way == pool.len() => 1,
                _ if running => rules.max_unavailable.of(pool.len()),
                _ => RESTING_AT_ONCE,
            };
            let at_once = at_once.min(rules.max_concurrent);
            let free = at_once.saturating_sub(on_their_way);
            let changeable = old.into_iter().filter(|member| !member.leased);
            steps.extend(changeable.take(free).map(|member| Step::Update(member.id)));
        }
        let (replaced, more) = self.replacements(group);
        steps.extend(replaced);
        (steps, waiting || more)
    }

    /// Machines that others replace, one after the other, and whether some are still on their way.
    fn replacements(&self, group: &str) -> (Vec<Step>, bool) {
        let mut olds = self.of(group).filter(|member| member.remounts);
        let standby = self
            .of(group)
            .find(|member| member.remounts && member.standby);
        if let Some(standby) = standby {
            // It stands in for a machine that has no volume.
            return (vec![Step::Destroy(standby.id)], true);
        }
        let Some(old) = olds.find(|member| !member.leased) else {
            return (Vec::new(), self.of(group).any(|member| member.remounts));
        };
        let new = self
            .of(group)
            .find(|member| member.made && member.replaces == Some(old.id));
        match new {
            None => (vec![Step::Replace(old.id)], true),
            Some(new) if is_up(new) => (vec![Step::Destroy(old.id)], true),
            Some(_) => (Vec::new(), true),
        }
    }

    /// Blue-green: one new machine for each old one, or the first machines of groups that have none.
    fn greens(&self) -> Turn {
        let mut steps = Vec::new();
        for group in self.groups {
            steps.extend(self.first_machines(group));
            let blues = self.of(&group.name).filter(|member| !member.made);
            let replaced: BTreeMap<MachineId, &Member> = self
                .of(&group.name)
                .filter_map(|member| Some((member.replaces?, member)))
                .collect();
            let lacking = blues.filter(|blue| !replaced.contains_key(&blue.id));
            // Those that stand in for others come when those others are there.
            let (standbys, regular): (Vec<&Member>, Vec<&Member>) =
                lacking.partition(|blue| blue.standby);
            let now = if regular.is_empty() {
                standbys
            } else {
                regular
            };
            steps.extend(now.iter().map(|blue| Step::CreateGreen { blue: blue.id }));
        }
        if !steps.is_empty() {
            return Turn::Act(steps);
        }
        match self.members.iter().filter(|member| member.made).all(is_up) {
            true => Turn::Enter(Stage::Switch),
            false => Turn::Wait,
        }
    }

    /// What is done about a new machine that fails in traffic: as long as old ones run, they take the requests again. Those
    /// that the new ones replace have to be there all.
    fn back(&self) -> Option<Turn> {
        let (greens, blues): (Vec<&Member>, Vec<&Member>) =
            self.members.iter().partition(|member| member.made);
        let is_there = |id: MachineId| blues.iter().any(|blue| blue.id == id);
        let mut replaced = greens.iter().filter_map(|green| green.replaces);
        let is_open = blues.iter().any(|blue| blue.running) && replaced.all(is_there);
        if !is_open || greens.iter().all(|green| is_up(green)) {
            return None;
        }
        let closed: Vec<Step> = blues
            .iter()
            .filter(|blue| blue.cordoned)
            .map(|blue| Step::Reopen(blue.id))
            .collect();
        if !closed.is_empty() {
            return Some(Turn::Act(closed));
        }
        let broken = greens.iter().find_map(|green| match &green.release {
            Some(Readiness::Broken(why)) => Some(reason(green, why)),
            _ => None,
        });
        Some(broken.map_or(Turn::Wait, Turn::Failed))
    }

    /// The new machines take requests, then the old ones take none, then they go.
    fn switch(&self) -> Turn {
        let (greens, blues): (Vec<&Member>, Vec<&Member>) =
            self.members.iter().partition(|member| member.made);
        let closed: Vec<Step> = greens
            .iter()
            .filter(|green| green.cordoned)
            .map(|green| Step::Uncordon(green.id))
            .collect();
        if !closed.is_empty() {
            return Turn::Act(closed);
        }
        let open: Vec<Step> = blues
            .iter()
            .filter(|blue| !blue.cordoned)
            .map(|blue| Step::Cordon(blue.id))
            .collect();
        if !open.is_empty() {
            return Turn::Act(open);
        }
        if blues.is_empty() {
            return Turn::Done;
        }
        Turn::Act(
            blues
                .iter()
                .map(|blue| match blue.running {
                    true => Step::Stop(blue.id),
                    false => Step::Destroy(blue.id),
                })
                .collect(),
        )
    }
}

/// A machine for each region the group shall be in and is not.
fn settlers(group: &Group, there: &[&Member]) -> Vec<Step> {
    let lacking = group
        .regions
        .iter()
        .filter(|region| there.iter().all(|member| member.region != **region));
    lacking
        .map(|region| Step::Settle {
            group: group.name.clone(),
            region: region.clone(),
        })
        .collect()
}

fn is_up(member: &Member) -> bool {
    member.release == Some(Readiness::Up)
}

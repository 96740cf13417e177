use std::time::Duration;

use mayfly_machine::{CpuKind, GuestSize, Levels, Usage};

/// A machine of a group, and what is known of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    pub size: GuestSize,
    /// Of this size; `None` if it was not measured.
    pub usage: Option<Usage>,
    /// How often it was ended for want of memory not long ago.
    pub oom_kills: u32,
}

/// What was measured of a group: the highest of its machines, since each has to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What most of its machines have.
    pub size: GuestSize,
    /// How long the machine that was measured longest was.
    pub measured: Duration,
    pub memory_mib: Levels,
    /// In thousandths of one CPU.
    pub cpu_millis: Levels,
    pub oom_kills: u32,
    pub verdict: Verdict,
    /// For people, with the numbers.
    pub reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too little was measured.
    Wait,
    Keep,
    Change(GuestSize),
}

/// Less than this share of the memory, at the peak, and less is advised.
const ROOMY_PERCENT: u64 = 50;
/// More than this share of what there is, and more is advised.
const TIGHT_PERCENT: u64 = 90;
/// What is advised is used up to this share.
const FILLED_PERCENT: u64 = 75;

const LARGEST_SHARED: GuestSize = GuestSize {
    cpu_kind: CpuKind::Shared,
    cpus: 8,
    memory_mib: 2048,
};

/// Says which size suits machines that did what was measured; `None` for a group without machines.
///
/// Memory follows the peak: nobody survives a moment without. CPUs follow what was used 95 % of the time; for shared ones the
/// average has to be within what they may always use, too, since bursts are saved up from that. Between too little and too much
/// there is a gap, so that what is followed is not advised away again. Performance CPUs are given up only where less than half
/// of what the largest shared size always has is enough for 95 % of the time. Until `enough` was measured nothing is said, but
/// for want of memory.
pub fn advise(machines: &[Measured], enough: Duration) -> Option<Advice> {
    let size = most_frequent(machines)?;
    let usages: Vec<Usage> = machines
        .iter()
        .filter_map(|machine| machine.usage)
        .filter(|usage| usage.size == size)
        .collect();
    let highest = |of: fn(&Usage) -> Levels| {
        let levels = usages.iter().map(of);
        levels.fold(Levels::default(), Levels::max)
    };
    let measured = usages.iter().map(|usage| usage.measured).max();
    let mut advice = Advice {
        size,
        measured: measured.unwrap_or_default(),
        memory_mib: highest(|usage| usage.memory_mib),
        cpu_millis: highest(|usage| usage.cpu_millis),
        oom_kills: machines.iter().map(|machine| machine.oom_kills).sum(),
        verdict: Verdict::Wait,
        reasons: Vec::new(),
    };
    let is_enough = advice.measured >= enough;
    if !is_enough && advice.oom_kills == 0 {
        let (has, needs) = (span(advice.measured), span(enough));
        advice
            .reasons
            .push(format!("measured for {has}, {needs} are needed"));
        return Some(advice);
    }
    let (memory_mib, reason) = advice.memory_wanted();
    advice.reasons.push(reason);
    if is_enough {
        advice.reasons.push(advice.cpu_reason());
    }
    let (least, _, _) = size.cpu_kind.memory_rule_mib();
    let own = GuestSize {
        memory_mib: least * size.cpus,
        ..size
    };
    let presets = GuestSize::presets().map(|(_, preset)| preset);
    let mut candidates = presets.chain([own]).filter(|candidate| match is_enough {
        true => advice.cpus_suit(*candidate),
        false => *candidate == own,
    });
    let chosen = candidates.find_map(|candidate| advice.with_memory(candidate, memory_mib));
    drop(candidates);
    advice.verdict = match chosen {
        Some(chosen) if chosen != size => Verdict::Change(chosen),
        Some(_) => Verdict::Keep,
        None => {
            let largest = "no size is large enough: spread the work over more machines";
            advice.reasons.push(largest.to_owned());
            Verdict::Keep
        }
    };
    Some(advice)
}

impl Advice {
    /// How much memory suits, in MiB, and why.
    fn memory_wanted(&self) -> (u64, String) {
        let (peak, has) = (
            u64::from(self.memory_mib.peak),
            u64::from(self.size.memory_mib),
        );
        let filled = self.filled_mib();
        let number = format!(
            "peak memory {peak} MB of {has} MB over {}",
            span(self.measured)
        );
        let (mib, why) = match self.oom_kills {
            0 if self.is_roomy(has) => (filled, "less than half"),
            0 if peak * 100 > has * TIGHT_PERCENT => (filled, "nearly all"),
            0 => (has, "it fits"),
            kills => {
                let times = match kills {
                    1 => "ended once for want of memory".to_owned(),
                    kills => format!("ended {kills} times for want of memory"),
                };
                let reason = match self.measured.is_zero() {
                    true => format!("{times} with {has} MB"),
                    false => format!("{number}, and {times}"),
                };
                return (filled.max(has + 1), reason);
            }
        };
        (mib, format!("{number}: {why}"))
    }

    /// So much that the peak leaves something.
    fn filled_mib(&self) -> u64 {
        (u64::from(self.memory_mib.peak) * 100).div_ceil(FILLED_PERCENT)
    }

    fn is_roomy(&self, mib: u64) -> bool {
        self.oom_kills == 0 && u64::from(self.memory_mib.peak) * 100 < mib * ROOMY_PERCENT
    }

    /// The CPUs of `candidate` with as much memory as wanted, or as they have at least; `None` if they take less.
    fn with_memory(&self, candidate: GuestSize, mib: u64) -> Option<GuestSize> {
        let (least, most, step) = candidate.cpu_kind.memory_rule_mib();
        let stepped = |mib: u64| mib.div_ceil(u64::from(step)) * u64::from(step);
        let wanted = match stepped(mib) {
            // Steps of another kind may be large.
            wanted if self.is_roomy(wanted) => stepped(self.filled_mib()),
            wanted => wanted,
        };
        let memory_mib = u32::try_from(wanted).ok()?.max(least * candidate.cpus);
        (memory_mib <= most * candidate.cpus).then_some(GuestSize {
            memory_mib,
            ..candidate
        })
    }

    /// Whether the CPUs of another size do what was measured: less has to be plainly enough, more comfortably.
    fn cpus_suit(&self, candidate: GuestSize) -> bool {
        let rank = |size: GuestSize| (size.cpu_kind == CpuKind::Performance, size.cpus);
        let percent = match rank(candidate).cmp(&rank(self.size)) {
            std::cmp::Ordering::Less => ROOMY_PERCENT,
            std::cmp::Ordering::Equal => TIGHT_PERCENT,
            std::cmp::Ordering::Greater => FILLED_PERCENT,
        };
        let within = |used: u32, of: u32| u64::from(used) * 100 <= u64::from(of) * percent;
        let Levels { mean, p95, .. } = self.cpu_millis;
        let steady = candidate.steady_millicpus();
        match candidate.cpu_kind {
            CpuKind::Shared => {
                let given_up = self.size.cpu_kind == CpuKind::Performance;
                within(p95, candidate.cpus * 1000)
                    && within(mean, steady)
                    && (!given_up || within(p95, LARGEST_SHARED.steady_millicpus()))
            }
            CpuKind::Performance => within(p95, steady),
        }
    }

    fn cpu_reason(&self) -> String {
        let Levels { mean, p95, .. } = self.cpu_millis;
        let cpus = |millis: u32| format!("{:.2}", f64::from(millis) / 1000.0);
        let used = format!(
            "{} of {} CPUs on average, at most {} for 95 % of the time",
            cpus(mean),
            self.size.cpus,
            cpus(p95)
        );
        match self.size.cpu_kind {
            CpuKind::Performance => used,
            CpuKind::Shared => {
                let steady = cpus(self.size.steady_millicpus());
                format!("{used}; {steady} of shared ones may always be used")
            }
        }
    }
}

/// The larger of sizes that are equally frequent.
fn most_frequent(machines: &[Measured]) -> Option<GuestSize> {
    let sizes = machines.iter().map(|machine| machine.size);
    sizes.max_by_key(|size| {
        let alike = machines.iter().filter(|machine| machine.size == *size);
        let is_performance = size.cpu_kind == CpuKind::Performance;
        (alike.count(), is_performance, size.cpus, size.memory_mib)
    })
}

/// A duration as people say it, in its largest unit.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;

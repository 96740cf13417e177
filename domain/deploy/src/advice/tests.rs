use proptest::prelude::*;

use mayfly_types::Timestamp;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn size(preset: &str, memory_mib: u32) -> GuestSize {
    let preset = GuestSize::preset(preset).expect("a preset");
    let size = GuestSize {
        memory_mib,
        ..preset
    };
    size.check().expect("a size that exists")
}

/// A machine that was measured for six hours: its peak of memory, and its CPU on average and for 95 % of the time.
fn measured(size: GuestSize, peak: u32, mean: u32, p95: u32) -> Measured {
    let usage = Usage {
        size,
        since: Timestamp::default(),
        measured: 6 * HOUR,
        memory_mib: Levels {
            mean: peak,
            p95: peak,
            peak,
        },
        cpu_millis: Levels {
            mean,
            p95,
            peak: p95,
        },
    };
    Measured {
        size,
        usage: Some(usage),
        oom_kills: 0,
    }
}

fn advised(machine: Measured) -> GuestSize {
    let advice = advise(&[machine], HOUR).expect("there is a machine");
    match advice.verdict {
        Verdict::Change(size) => size,
        Verdict::Keep => machine.size,
        Verdict::Wait => panic!("{advice:?}"),
    }
}

#[test]
fn sizes_follow_what_was_used() {
    let cases = [
        // Memory: less than half, the middle, nearly all.
        (("shared-cpu-1x", 512), (80, 1, 5), ("shared-cpu-1x", 256)),
        (("shared-cpu-1x", 1024), (400, 1, 5), ("shared-cpu-1x", 768)),
        (("shared-cpu-1x", 512), (260, 1, 5), ("shared-cpu-1x", 512)),
        (("shared-cpu-1x", 512), (470, 1, 5), ("shared-cpu-1x", 768)),
        (("shared-cpu-1x", 256), (10, 1, 5), ("shared-cpu-1x", 256)),
        // More memory than one shared CPU takes.
        (
            ("shared-cpu-1x", 2048),
            (2000, 1, 5),
            ("shared-cpu-2x", 2816),
        ),
        // Shared CPUs: held to their baseline, bursts beyond what there is, less than half of fewer.
        (
            ("shared-cpu-1x", 256),
            (150, 62, 62),
            ("shared-cpu-2x", 512),
        ),
        (
            ("shared-cpu-1x", 256),
            (150, 20, 990),
            ("shared-cpu-2x", 512),
        ),
        (
            ("shared-cpu-4x", 1024),
            (600, 20, 400),
            ("shared-cpu-1x", 1024),
        ),
        (
            ("shared-cpu-2x", 512),
            (300, 90, 400),
            ("shared-cpu-2x", 512),
        ),
        // What is always wanted is not for shared ones.
        (
            ("shared-cpu-8x", 2048),
            (1500, 495, 600),
            ("performance-1x", 2048),
        ),
        (
            ("performance-1x", 2048),
            (1500, 850, 950),
            ("performance-2x", 4096),
        ),
        (
            ("performance-4x", 8192),
            (2000, 600, 900),
            ("performance-2x", 4096),
        ),
        // Dedicated ones are given up only for what shared ones always have.
        (
            ("performance-1x", 2048),
            (100, 10, 200),
            ("shared-cpu-1x", 256),
        ),
        // Steps of another kind are larger; what they leave unused is not kept.
        (
            ("shared-cpu-8x", 2304),
            (1200, 495, 600),
            ("performance-1x", 2048),
        ),
        (
            ("performance-1x", 2048),
            (100, 10, 400),
            ("performance-1x", 2048),
        ),
        (
            ("performance-1x", 2048),
            (100, 5, 20),
            ("shared-cpu-1x", 256),
        ),
    ];
    for ((preset, memory), (peak, mean, p95), (wanted, wanted_memory)) in cases {
        let machine = measured(size(preset, memory), peak, mean, p95);
        assert_eq!(
            advised(machine),
            size(wanted, wanted_memory),
            "{preset} {memory}: {peak} MB, {mean} and {p95}"
        );
    }
}

#[test]
fn reasons_have_the_numbers() {
    let machine = measured(size("shared-cpu-1x", 256), 61, 2, 30);
    let advice = advise(&[machine], HOUR).unwrap();
    assert_eq!(advice.verdict, Verdict::Keep);
    assert_eq!(
        advice.reasons,
        [
            "peak memory 61 MB of 256 MB over 6 h: less than half",
            "0.00 of 1 CPUs on average, at most 0.03 for 95 % of the time; 0.06 of shared ones may always be used",
        ]
    );
}

#[test]
fn too_little_is_said_to_be() {
    assert_eq!(advise(&[], HOUR), None);
    let mut machine = measured(size("shared-cpu-1x", 512), 61, 2, 30);
    let usage = machine.usage.as_mut().unwrap();
    usage.measured = Duration::from_secs(59 * 60);
    let advice = advise(&[machine], HOUR).unwrap();
    assert_eq!(advice.verdict, Verdict::Wait);
    assert_eq!(advice.reasons, ["measured for 59 min, 60 min are needed"]);
    machine.usage = None;
    let advice = advise(&[machine], HOUR).unwrap();
    assert_eq!(advice.verdict, Verdict::Wait);
    assert_eq!(advice.reasons, ["measured for 0 s, 60 min are needed"]);
    // Numbers of another size say nothing of this one.
    let mut changed = measured(size("shared-cpu-1x", 512), 61, 2, 30);
    changed.size = size("shared-cpu-1x", 256);
    let advice = advise(&[changed], HOUR).unwrap();
    assert_eq!(advice.verdict, Verdict::Wait);
}

#[test]
fn want_of_memory_needs_no_time() {
    let mut machine = Measured {
        size: size("shared-cpu-1x", 256),
        usage: None,
        oom_kills: 2,
    };
    let advice = advise(&[machine], HOUR).unwrap();
    assert_eq!(
        advice.verdict,
        Verdict::Change(size("shared-cpu-1x", 512)),
        "{advice:?}"
    );
    assert_eq!(
        advice.reasons,
        ["ended 2 times for want of memory with 256 MB"]
    );
    machine = measured(size("shared-cpu-1x", 512), 180, 2, 30);
    machine.oom_kills = 1;
    assert_eq!(advised(machine), size("shared-cpu-1x", 768));
}

#[test]
fn every_machine_of_a_group_has_to_fit() {
    let wide = size("shared-cpu-1x", 1024);
    let machines = [
        measured(wide, 100, 1, 2),
        measured(wide, 700, 1, 2),
        measured(size("shared-cpu-1x", 256), 10, 1, 2),
    ];
    let advice = advise(&machines, HOUR).unwrap();
    assert_eq!((advice.size, advice.memory_mib.peak), (wide, 700));
    assert_eq!(advice.verdict, Verdict::Keep);
}

proptest! {
    /// Whoever follows and uses what he used before is told to stay.
    #[test]
    fn what_is_followed_stays(
        preset in 0_usize..14,
        peak in 0_u32..40_000,
        mean in 0_u32..17_000,
        more in 0_u32..17_000,
    ) {
        let (_, from) = GuestSize::presets().nth(preset).unwrap();
        let peak = peak.min(from.memory_mib);
        let p95 = (mean + more).min(from.cpus * 1000);
        let machine = measured(from, peak, mean.min(p95), p95);
        let to = advised(machine);
        prop_assert_eq!(to.check(), Ok(to));
        prop_assert!(peak <= to.memory_mib);
        let again = measured(to, peak, mean.min(p95), p95);
        prop_assert_eq!(advised(again), to, "from {} {}", from, from.memory_mib);
    }
}

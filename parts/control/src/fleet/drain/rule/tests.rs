use std::collections::BTreeMap;

use mayfly_control_store::{HostSize, Lease, Reach};
use mayfly_machine::MachineSpec;
use mayfly_types::{AppId, HostId, HostSeq, InstanceId, MachineId, OrgId};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn host(number: u8, region: &str) -> Host {
    Host {
        id: HostId::from_random([number; 8]),
        region: region.parse().unwrap(),
        registered_at: NOW,
        seen_at: NOW,
        applied_seq: HostSeq(0),
        server_id: None,
        size: HostSize::default(),
        reach: Reach {
            reachable: true,
            since: NOW,
        },
        cordoned_at: None,
        removed_at: None,
    }
}

/// The host that is emptied, and another of its region.
fn pair() -> Vec<Host> {
    vec![
        Host {
            cordoned_at: Some(NOW),
            ..host(1, "fra")
        },
        host(2, "fra"),
    ]
}

fn machine() -> Machine {
    let spec = MachineSpec::of_image("web:1".parse().unwrap());
    let instance = InstanceId::new(NOW, [0; 10]);
    Machine {
        id: MachineId::from_random([1; 14]),
        app_id: AppId::from_random([1; 16]),
        app_name: "web".parse().unwrap(),
        org_id: OrgId::from_random([1; 16]),
        name: "one".parse().unwrap(),
        region: "fra".parse().unwrap(),
        host_id: HostId::from_random([1; 8]),
        placement_reason: String::new(),
        instance_id: instance,
        image: spec.image.clone(),
        image_labels: BTreeMap::new(),
        config: to_raw_value(&json!({"image": "web:1"})).unwrap(),
        spec,
        generation: 1,
        created_at: NOW,
        updated_at: NOW,
        destroyed_at: None,
        lease: None,
        state: MachineState::Started,
        state_since: NOW,
        host_seq: HostSeq(1),
        observed_instance_id: Some(instance),
        cordoned: false,
        private_ip: String::new(),
        failure: None,
        containers: Vec::new(),
    }
}

fn verdict(machine: &Machine, hosts: &[Host], releasing: bool) -> Verdict {
    judge(&Facts {
        machine,
        hosts,
        releasing,
        now: NOW,
    })
}

#[test]
fn what_runs_or_rests_moves_and_what_changes_waits() {
    use MachineState::{Created, Failed, LaunchFailed, Restarting, Started, Stopped, Suspended};
    let moving = [
        Created,
        Failed,
        LaunchFailed,
        Restarting,
        Started,
        Stopped,
        Suspended,
    ];
    for state in MachineState::ALL {
        let machine = Machine { state, ..machine() };
        let moves = verdict(&machine, &pair(), false) == Verdict::Move;
        assert_eq!(moves, moving.contains(&state), "{state}");
    }
}

#[test]
fn what_has_something_on_its_host_stays() {
    let mut with_volume = machine();
    with_volume.config = to_raw_value(&json!({"mounts": [{"volume": "vol_1"}]})).unwrap();
    let mut kept = machine();
    kept.spec.rootfs.persist = Persist::Always;
    let mut builder = machine();
    builder.spec.rights = Rights::Builder;
    for (machine, word) in [
        (with_volume, "volume"),
        (kept, "root filesystem"),
        (builder, "builder"),
    ] {
        let said = verdict(&machine, &pair(), false);
        assert!(
            matches!(&said, Verdict::Stay(why) if why.contains(word)),
            "{said:?}"
        );
    }
}

#[test]
fn a_machine_moves_within_its_region_while_both_hosts_answer() {
    let stays = |hosts: &[Host]| matches!(verdict(&machine(), hosts, false), Verdict::Stay(_));
    let waits = |hosts: &[Host]| matches!(verdict(&machine(), hosts, false), Verdict::Wait(_));
    let with = |change: &dyn Fn(&mut Vec<Host>)| {
        let mut hosts = pair();
        change(&mut hosts);
        hosts
    };
    assert!(stays(&with(&|hosts| hosts[1] = host(2, "ams"))));
    assert!(stays(&with(&|hosts| hosts[1].cordoned_at = Some(NOW))));
    assert!(waits(&with(&|hosts| hosts[1].reach.reachable = false)));
    assert!(waits(&with(&|hosts| hosts[0].reach.reachable = false)));
}

#[test]
fn others_who_change_a_machine_come_first() {
    assert!(matches!(
        verdict(&machine(), &pair(), true),
        Verdict::Wait(_)
    ));
    let mut leased = machine();
    leased.lease = Some(Lease {
        nonce: "n".to_owned(),
        owner: "somebody".to_owned(),
        description: None,
        expires_at: NOW + Duration::from_secs(1),
    });
    let said = verdict(&leased, &pair(), false);
    assert!(
        matches!(&said, Verdict::Wait(why) if why.contains("somebody")),
        "{said:?}"
    );
    let mut job = machine();
    job.spec.auto_destroy = true;
    assert!(matches!(verdict(&job, &pair(), false), Verdict::Wait(_)));
    let mut standby = machine();
    standby.spec.standbys = vec![MachineId::from_random([9; 14])];
    assert!(matches!(
        verdict(&standby, &pair(), false),
        Verdict::Wait(_)
    ));
    standby.state = MachineState::Stopped;
    assert_eq!(verdict(&standby, &pair(), false), Verdict::Move);
}

fn check(status: &str) -> CheckStatus {
    CheckStatus {
        name: "alive".to_owned(),
        status: status.to_owned(),
        output: String::new(),
        updated_at: NOW,
    }
}

#[test]
fn a_replacement_is_up_when_its_checks_pass_or_it_has_run_a_while() {
    let soon = NOW + Duration::from_secs(1);
    let (later, late) = (NOW + STEADY, NOW + PATIENCE);
    let of = |state| Machine { state, ..machine() };
    let (up, waiting) = (Readiness::Up, Readiness::Waiting);
    let started = of(MachineState::Started);
    let stopped = of(MachineState::Stopped);
    for (machine, launches, checks, now, wanted) in [
        (&started, true, vec![], soon, &waiting),
        (&started, true, vec![], later, &up),
        (&started, true, vec![check("passing")], soon, &up),
        (&started, true, vec![check("warning")], later, &waiting),
        (&stopped, true, vec![check("critical")], soon, &up),
        (&stopped, false, vec![], soon, &up),
        (&of(MachineState::Created), false, vec![], later, &waiting),
        (&of(MachineState::Restarting), true, vec![], later, &waiting),
    ] {
        let found = readiness(machine, launches, &[], &checks, NOW, now);
        assert_eq!(found, *wanted, "{} {checks:?}", machine.state);
    }
    let failed = |machine: &Machine, checks: &[CheckStatus], now| {
        matches!(
            readiness(machine, true, &[], checks, NOW, now),
            Readiness::Failed(_)
        )
    };
    assert!(failed(&started, &[check("critical")], late));
    assert!(failed(&of(MachineState::Starting), &[], late));
    assert!(failed(&of(MachineState::LaunchFailed), &[], soon));
    let gone = Machine {
        destroyed_at: Some(NOW),
        ..machine()
    };
    assert!(failed(&gone, &[], soon));
    // A host that has not reported the machine yet says nothing by its state.
    let unheard = Machine {
        observed_instance_id: None,
        ..started
    };
    assert_eq!(
        readiness(&unheard, true, &[], &[], NOW, later),
        Readiness::Waiting
    );
}

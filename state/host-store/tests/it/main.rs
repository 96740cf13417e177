//! The journal over a real SQLite file.
#![allow(clippy::unwrap_used)] // in helpers of the tests

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_host_api::{EventKind, Filesystem, HostEvent, MachineReport, VolumeSpec};
use mayfly_host_store::{AddressPool, Change, HostStore, StoreError, StoredVolume, VolumePhase};
use mayfly_machine::{
    Actor, Event, Identity, Launch, Machine, MachineSpec, RunChange, Version, private_ip, step,
};
use mayfly_runtime::SystemEntropy;
use mayfly_types::{
    AppId, HostId, HostSeq, InstanceId, MachineId, NetworkId, OrgId, Timestamp, VolumeId,
};

const POOL: AddressPool = AddressPool {
    first: std::net::Ipv4Addr::new(100, 64, 0, 1),
    count: 3,
};

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn host() -> HostId {
    HostId::from_random([9; 8])
}

fn id(number: u8) -> MachineId {
    MachineId::from_random([number; 14])
}

fn spec() -> MachineSpec {
    MachineSpec::of_image("nginx".parse().unwrap())
}

fn report(machine: &Machine, event: Option<EventKind>) -> HostEvent {
    HostEvent {
        seq: HostSeq(0),
        at: now(),
        machine_id: machine.identity.machine_id,
        event,
        by: Actor::User,
        report: MachineReport {
            machine_id: machine.identity.machine_id,
            host_id: host(),
            seq: HostSeq(0),
            instance_id: machine.version.instance_id,
            state: machine.state(),
            since: machine.since,
            private_ip: machine.identity.private_ip.to_string(),
            pid: None,
            cordoned: false,
            failure: None,
            containers: Vec::new(),
        },
    }
}

fn creation(number: u8) -> impl FnOnce(u32, std::net::Ipv4Addr) -> Change + Send + 'static {
    move |place, ipv4| {
        let identity = Identity {
            machine_id: id(number),
            name: "m".into(),
            app_id: AppId::from_random([1; 16]),
            app_name: "app".parse().unwrap(),
            org_id: OrgId::from_random([2; 16]),
            org_slug: "personal".parse().unwrap(),
            network: NetworkId(1),
            region: "iad".parse().unwrap(),
            private_ip: private_ip(NetworkId(1), host(), place),
            ipv4,
            created_at: now(),
        };
        let version = Version {
            instance_id: InstanceId::new(now(), [number; 10]),
            spec: spec(),
            secrets: BTreeMap::new(),
        };
        let next = Machine::create(identity, version, Launch::Now, false, Actor::User).next;
        Change {
            at: now(),
            reports: vec![report(&next, Some(EventKind::Launch))],
            next,
            runs: Vec::new(),
        }
    }
}

fn after(machine: &Machine, event: Event) -> Change {
    let next = step(machine, event, now()).unwrap().next;
    Change {
        at: now(),
        reports: vec![report(&next, None)],
        next,
        runs: Vec::new(),
    }
}

async fn open(dir: &tempfile::TempDir) -> HostStore {
    let path = dir.path().join("journal.db");
    HostStore::open(&path, host(), "boot-1", Arc::new(SystemEntropy))
        .await
        .unwrap()
        .0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn machines_keep_their_state_addresses_and_reports() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let first = store.insert(id(1), POOL, creation(1)).await.unwrap();
    let second = store.insert(id(2), POOL, creation(2)).await.unwrap();
    assert_ne!(first.machine.identity.ipv4, second.machine.identity.ipv4);
    assert_ne!(
        first.machine.identity.private_ip,
        second.machine.identity.private_ip
    );
    assert_eq!((first.seq, second.seq), (HostSeq(1), HostSeq(2)));
    assert_eq!(store.insert(id(1), POOL, creation(1)).await.unwrap(), first);

    let change = after(&first.machine, Event::Prepared);
    let seq = store.store(first.generation, change.clone()).await.unwrap();
    assert_eq!(seq, Some(HostSeq(3)));
    let late = store.store(first.generation, change.clone()).await;
    assert!(matches!(late, Err(StoreError::Overtaken { .. })));

    drop(store);
    let store = open(&dir).await;
    let machines = store.machines().await.unwrap();
    assert_eq!(machines.len(), 2);
    assert_eq!(machines[0].machine, change.next);
    assert_eq!((machines[0].generation, machines[0].seq), (2, HostSeq(3)));
    let reports = store.reports_after(HostSeq(1), 10).await.unwrap();
    let seqs: Vec<i64> = reports.iter().map(|report| report.report.seq.0).collect();
    assert_eq!(seqs, [2, 3], "the late change reported nothing");
    assert_eq!(store.newest_report().await.unwrap(), HostSeq(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_boot_is_seen_until_the_recovery_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let other = HostId::from_random([3; 8]);
    let opened = HostStore::open(&path, host(), "boot-1", Arc::new(SystemEntropy))
        .await
        .unwrap()
        .1;
    assert_eq!((opened.host_id, opened.rebooted), (host(), false));
    for _ in 0..2 {
        let opened = HostStore::open(&path, other, "boot-2", Arc::new(SystemEntropy))
            .await
            .unwrap()
            .1;
        assert_eq!((opened.host_id, opened.rebooted), (host(), true));
    }
    let (store, _) = HostStore::open(&path, other, "boot-2", Arc::new(SystemEntropy))
        .await
        .unwrap();
    store.recovered("boot-2").await.unwrap();
    assert!(
        !HostStore::open(&path, other, "boot-2", Arc::new(SystemEntropy))
            .await
            .unwrap()
            .1
            .rebooted
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_destroyed_is_forgotten_later_and_numbers_are_not_reused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let stored = store.insert(id(1), POOL, creation(1)).await.unwrap();
    let destroy = Event::Destroy {
        kill: false,
        by: Actor::User,
    };
    let destroying = after(&stored.machine, destroy);
    let gone = after(&destroying.next, Event::Removed);
    store.store(1, destroying).await.unwrap();
    store.store(2, gone).await.unwrap();
    assert!(store.forget_destroyed(now()).await.unwrap().is_empty());
    let later = now() + Duration::from_secs(1);
    assert_eq!(store.forget_destroyed(later).await.unwrap(), [id(1)]);
    assert_eq!(store.machine(id(1)).await.unwrap(), None);
    assert_eq!(store.drop_reports(later).await.unwrap(), 3);
    assert_eq!(store.newest_report().await.unwrap(), HostSeq(3));
    let next = store.insert(id(2), POOL, creation(2)).await.unwrap();
    assert_eq!(next.seq, HostSeq(4));
    let old = stored.machine.identity;
    assert_ne!(next.machine.identity.private_ip, old.private_ip);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn runs_are_recorded_with_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut stored = store.insert(id(1), POOL, creation(1)).await.unwrap();
    let due = |minute: u64| now() + Duration::from_secs(60 * minute);
    for runs in [
        vec![RunChange::Started { due_at: due(0) }],
        vec![RunChange::Skipped { due_at: due(1) }],
        vec![RunChange::Exited {
            due_at: due(0),
            exit_code: Some(3),
        }],
    ] {
        let change = Change {
            at: now(),
            next: stored.machine.clone(),
            reports: Vec::new(),
            runs,
        };
        store.store(stored.generation, change).await.unwrap();
        stored.generation += 1;
    }
    let runs = store.runs(id(1), 10).await.unwrap();
    let shown: Vec<(&str, Option<i32>)> = runs
        .iter()
        .map(|run| (run.outcome.as_str(), run.exit_code))
        .collect();
    assert_eq!(shown, [("skipped", None), ("exited", Some(3))]);
    assert_eq!(store.runs(id(1), 1).await.unwrap().len(), 1);
}

/// Prints what the checked-in samples hold; run by hand when a new version of the shapes begins.
#[test]
#[ignore = "prints samples for golden/"]
fn print_samples() {
    let change = creation(1)(5, std::net::Ipv4Addr::new(100, 64, 0, 7));
    let starting = step(&change.next, Event::Prepared, now()).unwrap().next;
    let guest = mayfly_machine::GuestRef {
        launch_id: starting.phase.launch_id().unwrap(),
        pid: 4711,
        started_at: now(),
    };
    let started = step(&starting, Event::Launched { guest }, now())
        .unwrap()
        .next;
    let stop = Event::Stop {
        signal: None,
        patience: None,
        by: Actor::User,
    };
    let stopping = step(&started, stop, now()).unwrap().next;
    for value in [
        serde_json::to_value(&started),
        serde_json::to_value(&stopping),
        serde_json::to_value(report(&started, Some(EventKind::Start))),
    ] {
        println!("@@{}", value.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_pool_is_used_up_and_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let mut addresses = Vec::new();
    for number in 1..=3 {
        let stored = store.insert(id(number), POOL, creation(number)).await;
        addresses.push(stored.unwrap().machine.identity.ipv4);
    }
    addresses.sort();
    let [first, _, last] = addresses[..] else {
        panic!("three machines")
    };
    assert_eq!(first, POOL.first);
    assert_eq!(last, std::net::Ipv4Addr::new(100, 64, 0, 3));
    let full = store.insert(id(4), POOL, creation(4)).await;
    assert!(matches!(full, Err(StoreError::NoAddress(_))));
    let stored = store.machine(id(2)).await.unwrap().unwrap();
    let destroy = Event::Destroy {
        kill: false,
        by: Actor::User,
    };
    let destroying = after(&stored.machine, destroy);
    let gone = after(&destroying.next, Event::Removed);
    store.store(1, destroying).await.unwrap();
    store.store(2, gone).await.unwrap();
    let next = store.insert(id(4), POOL, creation(4)).await.unwrap();
    assert_eq!(next.machine.identity.ipv4, stored.machine.identity.ipv4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn volumes_are_kept_with_what_is_done_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let spec = VolumeSpec {
        volume_id: VolumeId::from_random([1; 16]),
        size_gib: 3,
        filesystem: Filesystem::Ext4,
    };
    let id = spec.volume_id;
    store.insert_volume(spec, now()).await.unwrap();
    let grown = StoredVolume {
        spec: VolumeSpec {
            size_gib: 5,
            ..spec
        },
        phase: VolumePhase::Ready,
    };
    let made = store.volume(id).await.unwrap().unwrap();
    assert_eq!((made.spec, made.phase), (spec, VolumePhase::Making));
    store.store_volume(grown).await.unwrap();
    store.insert_volume(spec, now()).await.unwrap();
    let again = open(&dir).await;
    assert_eq!(again.volumes().await.unwrap(), [grown]);
    again.forget_volume(id).await.unwrap();
    again.store_volume(grown).await.unwrap();
    assert_eq!(
        again.volume(id).await.unwrap(),
        None,
        "what is gone stays so"
    );
}

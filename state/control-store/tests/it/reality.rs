use std::time::Duration;

use mayfly_control_store::{Applied, ControlStore, HostSize};
use mayfly_host_api::{Actor, EventKind, ExitEvent, HostEvent};
use mayfly_machine::MachineState;
use mayfly_types::{HostId, HostSeq};

use crate::fixture::{Cloud, at, by, on_both_engines};

on_both_engines!(
    reports_are_taken_over_once,
    users_see_what_happened,
    reports_of_strangers_only_move_the_cursor,
    a_destroyed_machine_frees_its_name_and_stays_readable,
    waiting_for_a_report_ends_when_it_is_there,
);

fn exit() -> EventKind {
    EventKind::Exit(ExitEvent {
        exit_code: 3,
        guest_exit_code: 3,
        guest_signal: -1,
        oom_killed: false,
        requested_stop: false,
        restarting: true,
        signal: -1,
        exited_at: at(1003),
        restart_count: 2,
    })
}

async fn reports_are_taken_over_once(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let before = cloud.kinds().await.len();
    let reports: Vec<HostEvent> = vec![
        cloud.report(1, &machine, MachineState::Created, Some(EventKind::Launch)),
        cloud.report(2, &machine, MachineState::Starting, None),
        cloud.report(3, &machine, MachineState::Started, Some(EventKind::Start)),
        // Nobody sees a difference: no row of the log.
        cloud.report(4, &machine, MachineState::Started, None),
    ];
    let apply = |batch: &[HostEvent]| cloud.store.apply_host_events(cloud.host, batch.to_vec());
    let applied = apply(&reports[..2]).await.unwrap();
    assert_eq!(
        applied,
        Applied {
            cursor: HostSeq(2),
            reports: 2,
            unknown: 0
        }
    );
    apply(&reports[..2]).await.unwrap();
    // An overlapping batch, and many at once.
    let many = (0..8).map(|_| apply(&reports));
    for applied in futures_util::future::join_all(many).await {
        assert_eq!(applied.unwrap().cursor, HostSeq(4));
    }
    assert_eq!(apply(&[]).await.unwrap().cursor, HostSeq(4));
    assert_eq!(cloud.kinds().await.len() - before, 3);
    assert_eq!(
        cloud
            .store
            .machine_events(machine.id, 50)
            .await
            .unwrap()
            .len(),
        2
    );

    let now = cloud.store.machine(machine.id).await.unwrap();
    assert_eq!(now.state, MachineState::Started);
    assert_eq!(now.state_since, at(1004));
    assert_eq!(now.host_seq, HostSeq(4));
    assert!(now.is_delivered());
    // A store that is opened anew continues where the old one was.
    let reopened = ControlStore::open(&cloud.url).await.unwrap();
    assert_eq!(
        reopened.host(cloud.host).await.unwrap().applied_seq,
        HostSeq(4)
    );
}

async fn users_see_what_happened(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let other = cloud.machine(&app, "two").await;
    let mut reports = vec![
        cloud.report(1, &machine, MachineState::Created, Some(EventKind::Launch)),
        cloud.report(2, &machine, MachineState::Started, Some(EventKind::Start)),
        cloud.report(3, &machine, MachineState::Starting, Some(exit())),
        cloud.report(4, &other, MachineState::Created, Some(EventKind::Launch)),
        cloud.report(
            5,
            &machine,
            MachineState::LaunchFailed,
            Some(EventKind::LaunchFailed {
                reason: "no such file".to_owned(),
            }),
        ),
    ];
    reports[2].by = Actor::Platform;
    cloud
        .store
        .apply_host_events(cloud.host, reports)
        .await
        .unwrap();

    let events = cloud.store.machine_events(machine.id, 50).await.unwrap();
    let lines: Vec<String> = events
        .iter()
        .map(|event| {
            format!(
                "{} {} {} {}",
                event.kind,
                event.status,
                event.source,
                event.at.as_millis()
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "launch failed user 1005",
            "exit stopped flyd 1003",
            "start started user 1002",
            "launch created user 1001"
        ]
    );
    let request = events[1].request.as_ref().unwrap();
    assert_eq!(request["exit_event"]["exit_code"], 3);
    assert_eq!(request["exit_event"]["restarting"], true);
    assert_eq!(request["restart_count"], 2);
    assert_eq!(
        events[0].request.as_ref().unwrap()["reason"],
        "no such file"
    );
    assert!(events.windows(2).all(|pair| pair[0].id > pair[1].id));

    let of_app = cloud
        .store
        .app_machine_events(app.id, 2, false)
        .await
        .unwrap();
    assert_eq!(of_app[&machine.id], events[..2]);
    assert_eq!(of_app[&other.id].len(), 1);

    let log = cloud.events().await;
    let last = log.last().unwrap();
    assert_eq!(last.kind, "machine.state");
    assert_eq!(last.actor, format!("host:{}", cloud.host));
    assert_eq!(last.before.as_ref().unwrap()["state"], "starting");
    assert_eq!(last.after.as_ref().unwrap()["state"], "launch_failed");
}

async fn reports_of_strangers_only_move_the_cursor(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let impostor = HostId::from_random([7; 8]);
    let report = || cloud.report(1, &machine, MachineState::Started, Some(EventKind::Start));
    let unknown_host = cloud
        .store
        .apply_host_events(impostor, vec![report()])
        .await;
    assert!(unknown_host.is_err());
    cloud
        .store
        .register_host(
            impostor,
            "fra".parse().unwrap(),
            HostSize::default(),
            by(30),
        )
        .await
        .unwrap();
    let applied = cloud
        .store
        .apply_host_events(impostor, vec![report()])
        .await
        .unwrap();
    assert_eq!(
        applied,
        Applied {
            cursor: HostSeq(1),
            reports: 1,
            unknown: 1
        }
    );
    let machine = cloud.store.machine(machine.id).await.unwrap();
    assert_eq!(machine.state, MachineState::Created);
    assert_eq!(cloud.store.hosts().await.unwrap().len(), 2);
}

async fn a_destroyed_machine_frees_its_name_and_stays_readable(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let gone = cloud.report(
        1,
        &machine,
        MachineState::Destroyed,
        Some(EventKind::Destroy),
    );
    cloud
        .store
        .apply_host_events(cloud.host, vec![gone])
        .await
        .unwrap();
    let second = cloud.machine(&app, "one").await;
    let first = cloud
        .store
        .machine_in_app(app.id, machine.id.to_string())
        .await;
    assert_eq!(first.unwrap().destroyed_at, Some(at(1001)));
    let named = cloud.store.machine_in_app(app.id, "one".to_owned()).await;
    assert_eq!(named.unwrap().id, second.id);
}

async fn waiting_for_a_report_ends_when_it_is_there(cloud: Cloud) {
    let app = cloud.app("web").await;
    let machine = cloud.machine(&app, "one").await;
    let wait = |patience| cloud.store.wait_applied(cloud.host, HostSeq(1), patience);
    assert!(!wait(Duration::ZERO).await.unwrap());
    let report = cloud.report(1, &machine, MachineState::Started, Some(EventKind::Start));
    let (waited, applied) = tokio::join!(
        wait(Duration::from_secs(60)),
        cloud.store.apply_host_events(cloud.host, vec![report])
    );
    assert!(waited.unwrap());
    applied.unwrap();
}

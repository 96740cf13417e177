use mayfly_control_store::{ControlStore, EventFilter, OfApp};
use mayfly_types::{EventSeq, OrgId};

use crate::fixture::{Cloud, by, on_both_engines};

on_both_engines!(
    a_reader_misses_nothing_while_two_processes_write,
    the_log_is_filtered,
    watchers_wake,
);

async fn a_reader_misses_nothing_while_two_processes_write(cloud: Cloud) {
    const EACH: usize = 60;
    // Two stores on one database share nothing in this process: they are as far apart as two processes.
    let other = ControlStore::open(&cloud.url).await.unwrap();
    let write = |store: ControlStore, prefix: &'static str| {
        let apps: Vec<_> = (0..EACH)
            .map(|n| cloud.new_app(&format!("{prefix}-{n}")))
            .collect();
        async move {
            for chunk in apps.chunks(4) {
                let creations = chunk.iter().map(|app| store.create_app(app.clone(), by(1)));
                for result in futures_util::future::join_all(creations).await {
                    result.unwrap();
                }
            }
        }
    };
    let start = cloud.store.newest_event().await.unwrap();
    let read = async {
        let mut seen: Vec<EventSeq> = Vec::new();
        while seen.len() < 2 * EACH {
            let after = seen.last().copied().unwrap_or(start);
            let page = cloud
                .store
                .events_after(after, EventFilter::default(), 7)
                .await
                .unwrap();
            seen.extend(page.iter().map(|event| event.seq));
            tokio::task::yield_now().await;
        }
        seen
    };
    let ((), (), seen) = tokio::join!(write(cloud.store.clone(), "a"), write(other, "b"), read);
    let expected: Vec<EventSeq> = (1..=2 * EACH as i64)
        .map(|n| EventSeq(start.0 + n))
        .collect();
    assert_eq!(seen, expected);
}

async fn the_log_is_filtered(cloud: Cloud) {
    let one = cloud.app("one").await;
    let two = cloud.app("two").await;
    let machine = cloud.machine(&one, "m").await;
    let count = |filter: EventFilter| async {
        let events = cloud
            .store
            .events_after(EventSeq(0), filter, 1000)
            .await
            .unwrap();
        events.len()
    };
    let app = |id| EventFilter {
        app: Some(OfApp::Id(id)),
        ..Default::default()
    };
    let orgs = |orgs| EventFilter {
        orgs: Some(orgs),
        ..Default::default()
    };
    assert_eq!(count(app(one.id)).await, 3);
    assert_eq!(count(app(two.id)).await, 1);
    let called = EventFilter {
        app: Some(OfApp::Called(two.name.clone())),
        ..Default::default()
    };
    assert_eq!(count(called.clone()).await, 1);
    let last = cloud.store.last_events(called, 1).await.unwrap();
    assert_eq!(last[0].app, Some(two.id));
    let last = cloud.store.last_events(app(one.id), 2).await.unwrap();
    assert_eq!(last.len(), 2);
    assert!(last[0].seq < last[1].seq, "{last:?}");
    assert_eq!(
        count(EventFilter {
            machine: Some(machine.id),
            ..Default::default()
        })
        .await,
        1
    );
    assert_eq!(count(orgs(vec![])).await, 0);
    assert_eq!(count(orgs(vec![OrgId::from_random([0; 16])])).await, 0);
    // Users, tokens and hosts belong to no organization.
    let all = cloud.events().await.len();
    assert_eq!(
        count(orgs(vec![cloud.org, OrgId::from_random([0; 16])])).await,
        all - 3
    );
    let page = cloud
        .store
        .events_after(EventSeq(0), EventFilter::default(), 2)
        .await
        .unwrap();
    assert_eq!(page.len(), 2);
}

async fn watchers_wake(cloud: Cloud) {
    let mut news = cloud.store.watch();
    assert_eq!(
        *news.borrow_and_update(),
        cloud.store.newest_event().await.unwrap()
    );
    assert!(!news.has_changed().unwrap());
    let refused = cloud.store.create_app(
        mayfly_control_store::NewApp {
            org_id: OrgId::from_random([0; 16]),
            ..cloud.new_app("x")
        },
        by(1),
    );
    refused.await.unwrap_err();
    assert!(!news.has_changed().unwrap());
    cloud.app("web").await;
    assert!(news.has_changed().unwrap());
    assert_eq!(
        *news.borrow_and_update(),
        cloud.store.newest_event().await.unwrap()
    );
}

//! A process is killed while it writes: whatever it acknowledged is there, and nothing is half there.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use mayfly_control_store::{AppFilter, ControlStore, EventFilter, NewApp};
use mayfly_types::{AppId, EventSeq};

use crate::fixture::{Cloud, by, on_both_engines, unique};

on_both_engines!(a_killed_writer_loses_nothing_it_acknowledged);

/// The address of the database that the writing process shall use; set for that process only.
const URL: &str = "MAYFLY_TEST_CRASH_URL";

/// Makes apps and prints the name of each that is acknowledged, until it is killed. Does nothing when run as a test.
#[tokio::test]
async fn writing_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = ControlStore::open(&url).await.unwrap();
    let org = store.orgs().await.unwrap()[0].id;
    for round in 0.. {
        let creations = (0..8).map(|n| {
            let store = store.clone();
            let name = format!("app-{}-{round}-{n}", std::process::id());
            async move {
                let mut id = unique::<16>();
                for (digit, slot) in id[8..].iter_mut().enumerate() {
                    *slot = (std::process::id() >> (4 * digit) & 15) as u8;
                }
                let new = NewApp {
                    id: AppId::from_random(id),
                    name: name.parse().unwrap(),
                    org_id: org,
                    network: None,
                    role: String::new(),
                    expires_at: None,
                };
                store.create_app(new, by(1)).await.unwrap();
                println!("made {name}");
            }
        });
        futures_util::future::join_all(creations).await;
    }
}

async fn a_killed_writer_loses_nothing_it_acknowledged(cloud: Cloud) {
    let mut acknowledged: Vec<String> = Vec::new();
    for wanted in [1, 13, 40] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writing_process", "--nocapture"])
            .env(URL, &cloud.url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < wanted {
            let line = lines
                .next()
                .expect("the writer writes until it is killed")
                .unwrap();
            if let Some((_, name)) = line.split_once("made ") {
                acknowledged.push(name.to_owned());
                seen += 1;
            }
        }
        child.kill().unwrap();
        let rest = lines.map_while(Result::ok);
        acknowledged.extend(rest.filter_map(|line| Some(line.split_once("made ")?.1.to_owned())));
        child.wait().unwrap();
    }
    let store = ControlStore::open(&cloud.url).await.unwrap();
    let apps = store.apps(AppFilter::default()).await.unwrap();
    let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
    for name in &acknowledged {
        assert!(
            names.contains(&name.as_str()),
            "{name} was acknowledged and is lost"
        );
    }
    let log = store
        .events_after(EventSeq(0), EventFilter::default(), 100_000)
        .await
        .unwrap();
    let expected: Vec<i64> = (1..=log.len() as i64).collect();
    assert_eq!(
        log.iter().map(|event| event.seq.0).collect::<Vec<_>>(),
        expected
    );
    let creations = log.iter().filter(|event| event.kind == "app.create");
    assert_eq!(creations.count(), apps.len());
}

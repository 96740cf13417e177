use std::sync::Arc;
use std::time::Duration;

use mayfly_edge_api::Directory;
use serde_json::json;
use tokio::sync::watch;

use crate::stage::{Stage, sleeper};

/// Waits until the published directory satisfies `fact`.
pub(crate) async fn published(
    feed: &mut watch::Receiver<Arc<Directory>>,
    fact: impl FnMut(&Arc<Directory>) -> bool,
) -> Arc<Directory> {
    tokio::time::timeout(Duration::from_secs(30), feed.wait_for(fact))
        .await
        .expect("the directory changes in time")
        .expect("the publisher lives")
        .clone()
}

fn names(directory: &Directory) -> Vec<&str> {
    let mut names: Vec<&str> = directory.apps.iter().map(|app| app.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn edges_are_told_of_apps_and_unchanged_ones_keep_their_place() {
    let stage = Stage::set().await;
    let mut feed = stage.published.clone();
    let first = published(&mut feed, |directory| names(directory) == ["stage"]).await;

    let other = json!({"app_name": "other", "org_slug": "personal", "network": "own"});
    stage.post("/v1/apps", other).await.expect(201);
    let second = published(&mut feed, |directory| directory.apps.len() == 2).await;
    let find = |directory: &Directory, name: &str| {
        let mut apps = directory.apps.iter();
        apps.find(|app| app.name.as_str() == name).unwrap().clone()
    };
    assert!(Arc::ptr_eq(&find(&first, "stage"), &find(&second, "stage")));
    assert_eq!(find(&second, "other").org_id, find(&second, "stage").org_id);
    assert_ne!(
        find(&second, "other").network,
        find(&second, "stage").network
    );

    // Machines are no business of the directory: nothing is published for them.
    feed.mark_unchanged();
    stage.machine(sleeper()).await;
    stage.delete("/v1/apps/other").await.expect(202);
    let third = published(&mut feed, |directory| names(directory) == ["stage"]).await;
    assert!(Arc::ptr_eq(&find(&first, "stage"), &find(&third, "stage")));
}

#[tokio::test]
async fn the_last_directory_is_there_before_the_store_is_asked() {
    let stage = Stage::set().await;
    let mut feed = stage.published.clone();
    published(&mut feed, |directory| names(directory) == ["stage"]).await;
    let left = stage.stop().await;
    let early = mayfly_control::DirectoryFeed::open(left.path().join("directory.json"));
    assert_eq!(names(&early.subscribe().borrow()), ["stage"]);
}

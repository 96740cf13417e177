//! Requests that a correct edge can save, and those it must not repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_machine_that_refuses_costs_no_request() {
    let (program, port) = Program::listen(21, 0, |_| ok("fine")).await;
    let edge = TestEdge::start(vec![
        machine_of("web", 21, "iad", port),
        // Nothing listens on either address of this one.
        machine_of("web", 22, "iad", port),
    ])
    .await;
    for turn in 0..8 {
        let post = format!(
            "POST /{turn} HTTP/1.1\r\nHost: web.mayfly.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        let said = edge.say(&post).await;
        assert!(said.ends_with("\r\n\r\nfine"), "{said}");
    }
    assert_eq!(program.heard().len(), 8);
    assert!(
        edge.metrics.read().connects_failed > 0,
        "the other machine was tried"
    );
    edge.end().await;
}

#[tokio::test]
async fn a_machine_that_dies_loses_only_what_must_not_be_repeated() {
    let (fine, port) = Program::listen(23, 0, |_| ok("fine")).await;
    let (dying, _) = Program::listen(24, port, |_| String::new()).await;
    let edge = TestEdge::start(vec![
        machine_of("web", 23, "iad", port),
        machine_of("web", 24, "iad", port),
    ])
    .await;
    for _ in 0..6 {
        let said = edge.say(&get("web", "/", "")).await;
        assert!(said.ends_with("\r\n\r\nfine"), "{said}");
        let put = "PUT / HTTP/1.1\r\nHost: web.mayfly.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let said = edge.say(put).await;
        assert!(said.ends_with("\r\n\r\nfine"), "{said}");
    }
    let repeated = dying
        .heard()
        .iter()
        .filter(|heard| heard.starts_with("PUT"))
        .count();
    assert!(
        repeated > 0
            && fine
                .heard()
                .iter()
                .any(|heard| heard.ends_with("2\r\nhi\r\n0\r\n\r\n"))
    );
    let only = format!(
        "POST / HTTP/1.1\r\nHost: web.mayfly.test\r\nFly-Prefer-Instance-Id: {}\r\nAccept: */*\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        machine_id(24)
    );
    let posts = |heard: Vec<String>| {
        heard
            .iter()
            .filter(|heard| heard.starts_with("POST"))
            .count()
    };
    let said = edge.say(&only).await;
    assert!(
        said.starts_with("HTTP/1.1 502 ") && said.contains("PU02"),
        "{said}"
    );
    assert_eq!((posts(dying.heard()), posts(fine.heard())), (1, 0));
    edge.end().await;
}

#[tokio::test]
async fn a_machine_that_is_about_to_listen_is_waited_for() {
    let (reserved, port) = Program::listen(25, 0, |_| ok("x")).await;
    drop(reserved);
    let edge = TestEdge::start(vec![machine_of("web", 25, "iad", port)]).await;
    let ask = get("web", "/", "");
    let asking = edge.say(&ask);
    let listening = async {
        while edge.metrics.read().connects_failed == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The old listener may take a moment to go.
        Program::listen(25, port, |_| ok("at last")).await
    };
    let (said, _program) = tokio::join!(asking, listening);
    assert!(said.ends_with("\r\n\r\nat last"), "{said}");
    edge.end().await;
}

#[tokio::test]
async fn a_connection_that_ended_while_it_was_kept_is_no_failure() {
    let die = Arc::new(AtomicBool::new(false));
    let dies = Arc::clone(&die);
    let (program, port) = Program::listen(26, 0, move |_| {
        if dies.swap(false, Ordering::SeqCst) {
            return String::new();
        }
        ok("fine")
    })
    .await;
    let mut web = machine_of("web", 26, "iad", port);
    web.services[0].concurrency.kind = mayfly_machine::ConcurrencyKind::Requests;
    let edge = TestEdge::start_as(vec![web], |config| config.cores = 1).await;
    for _ in 0..3 {
        assert!(edge.say(&get("web", "/", "")).await.ends_with("fine"));
        die.store(true, Ordering::SeqCst);
        let said = edge.say(&get("web", "/", "")).await;
        assert!(said.ends_with("fine"), "{said}");
    }
    assert_eq!(program.heard().len(), 9);
    edge.end().await;
}

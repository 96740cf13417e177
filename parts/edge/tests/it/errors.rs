//! Answers of the edge itself.

use mayfly_machine::MachineState;

use super::*;

#[tokio::test]
async fn errors_name_their_cause_and_request() {
    let (closed, port) = machine().await;
    drop(closed);
    let mut stopped = entry("asleep", 1);
    stopped.state = MachineState::Stopped;
    stopped.services[0].autostart = false;
    let edge = TestEdge::start(vec![stopped, entry("deaf", port)]).await;
    for (host, status, code) in [
        ("nobody.mayfly.test", "404", "app_not_found"),
        ("asleep.mayfly.test", "503", "PR01"),
        ("deaf.mayfly.test", "502", "PC01"),
    ] {
        let answer = edge
            .say(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code),
            "{answer}"
        );
        assert!(
            answer.contains("\"request_id\":\"") && answer.contains("-iad\""),
            "{answer}"
        );
        let page = edge
            .say(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert!(
            page.contains("text/html") && page.contains("<h1>"),
            "{page}"
        );
    }
    let answer = edge.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    edge.end().await;
}

#[tokio::test]
async fn apps_without_a_service_are_not_guessed_at() {
    let mut bare = entry("bare", 8080);
    bare.services.clear();
    let mut elsewhere = entry("elsewhere", 8080);
    for port in &mut elsewhere.services[0].ports {
        (port.first, port.last) = (9000, 9000);
    }
    let edge = TestEdge::start(vec![bare, elsewhere]).await;
    for app in ["bare", "elsewhere"] {
        let said = edge.say(&get(app, "/", "Accept: */*\r\n")).await;
        assert!(
            said.starts_with("HTTP/1.1 404 ") && said.contains("no_service"),
            "{said}"
        );
    }
    edge.end().await;
}

#[tokio::test]
async fn an_error_leaves_the_connection_usable_and_is_counted() {
    let (program, port) = Program::listen(2, 0, |_| ok("fine")).await;
    let edge = TestEdge::start(vec![machine_of("web", 2, "iad", port)]).await;
    let said = edge
        .say(&format!(
            "GET / HTTP/1.1\r\nHost: nobody.mayfly.test\r\n\r\nHEAD / HTTP/1.1\r\nHost: nobody.mayfly.test\r\n\r\n{}",
            get("web", "/", "")
        ))
        .await;
    assert_eq!(said.matches("HTTP/1.1 404 ").count(), 2, "{said}");
    assert!(said.ends_with("\r\n\r\nfine"), "{said}");
    assert_eq!(program.heard().len(), 1);
    let totals = edge.metrics.read();
    assert_eq!(
        (
            totals.requests,
            totals.answers,
            totals.own_answers,
            totals.connections
        ),
        (3, [0, 1, 0, 2, 0], 2, 1)
    );
    edge.end().await;
}

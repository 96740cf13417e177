//! fly-replay through the whole edge.

use super::*;

fn replay(lines: &str) -> String {
    answer(307, lines, "")
}

#[tokio::test]
async fn orders_are_followed_with_body_and_trace() {
    let (router, port) = Program::listen(31, 0, |heard| {
        let path = heard.split(' ').nth(1).unwrap();
        match path {
            "/region" => replay("fly-replay: region=ams;state=kept\r\n"),
            "/instance" => replay(&format!("fly-replay: instance={}\r\n", machine_id(32))),
            "/elsewhere" => replay("fly-replay: elsewhere=true\r\n"),
            "/app" => replay("fly-replay: app=other\r\n"),
            "/stranger" => replay("fly-replay: app=foreign\r\n"),
            "/nobody" => replay("fly-replay: app=nobody\r\n"),
            "/wrong" => replay("fly-replay: colour=red\r\n"),
            "/loop" => replay("fly-replay: region=any\r\n"),
            "/json" => answer(
                200,
                "Content-Type: application/vnd.fly.replay+json\r\n",
                r#"{"region":"ams","transform":{"path":"/new?x=1","delete_headers":["x-secret"],"set_headers":[{"name":"x-set","value":"v"}]}}"#,
            ),
            "/lost" => replay("fly-replay: region=nrt;fallback=force_self;timeout=2s\r\n"),
            _ => ok("unknown"),
        }
    })
    .await;
    let (two, _) = Program::listen(32, port, |heard| {
        if heard.starts_with("POST /loop") {
            return replay("fly-replay: region=any\r\n");
        }
        ok("two")
    })
    .await;
    let (_other, _) = Program::listen(33, port, |_| ok("other")).await;
    let mut foreign = machine_of("foreign", 33, "iad", port);
    foreign.org_id = mayfly_types::OrgId::from_random([9; 16]);
    let edge = TestEdge::start(vec![
        machine_of("web", 31, "iad", port),
        machine_of("web", 32, "ams", port),
        machine_of("other", 33, "iad", port),
        foreign,
    ])
    .await;
    let to_router = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: web.mayfly.test\r\nFly-Prefer-Region: iad\r\nX-Secret: s\r\nAccept: */*\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    for (path, wanted) in [
        ("/region", "two"),
        ("/instance", "two"),
        ("/elsewhere", "two"),
        ("/json", "two"),
        ("/app", "other"),
    ] {
        let said = edge.say(&to_router(path, "the body")).await;
        assert!(
            said.starts_with("HTTP/1.1 200 ") && said.ends_with(&format!("\r\n\r\n{wanted}")),
            "{path}\n{said}"
        );
        assert!(!said.contains("fly-replay"), "{said}");
    }
    let heard = two.heard();
    assert!(
        heard
            .iter()
            .all(|heard| heard.ends_with("\r\n\r\nthe body"))
    );
    let source = field(&heard[0], "fly-replay-src").unwrap();
    assert!(
        source.starts_with(&format!("instance={};region=iad;t=", machine_id(31)))
            && source.ends_with(";state=kept"),
        "{source}"
    );
    assert_eq!(field(&heard[0], "fly-replay-cache-status"), Some("miss"));
    let transformed = &heard[3];
    assert!(
        transformed.starts_with("POST /new?x=1 HTTP/1.1\r\n"),
        "{transformed}"
    );
    assert_eq!(field(transformed, "x-set"), Some("v"));
    assert_eq!(field(transformed, "x-secret"), None);
    assert_eq!(edge.metrics.read().replays, 5);
    for (path, status, code) in [
        ("/stranger", 502, "PA05"),
        ("/nobody", 502, "PA04"),
        ("/wrong", 502, "PA03"),
        ("/loop", 502, "PA02"),
    ] {
        let said = edge.say(&to_router(path, "b")).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")) && said.contains(code),
            "{path}\n{said}"
        );
    }
    let long = "x".repeat((1 << 20) + 1);
    let said = edge.say(&to_router("/region", &long)).await;
    assert!(
        said.starts_with("HTTP/1.1 413 ") && said.contains("PA01"),
        "{said}"
    );
    router.heard.lock().unwrap().clear();
    // The router's own answer to what came back to it is the client's, whatever it orders.
    let said = edge.say(&to_router("/lost", "b")).await;
    assert!(said.starts_with("HTTP/1.1 307 "), "{said}");
    let back = router.heard().pop().unwrap();
    let failed = field(&back, "fly-replay-failed").unwrap();
    for part in [
        "app=web;",
        "region=nrt;",
        &format!("replay_source={};", machine_id(31)),
        "reason=no_candidate;",
    ] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
    assert_eq!(field(&back, "fly-replay-src"), None);
    edge.end().await;
}

#[tokio::test]
async fn a_remembered_replay_does_not_ask_the_app_again() {
    let (router, port) = Program::listen(36, 0, |_| {
        replay("fly-replay: app=other\r\nfly-replay-cache: /kept/*\r\nfly-replay-cache-ttl-secs: 60\r\n")
    })
    .await;
    let (target, _) = Program::listen(37, port, |_| ok("target")).await;
    let edge = TestEdge::start(vec![
        machine_of("web", 36, "iad", port),
        machine_of("other", 37, "iad", port),
    ])
    .await;
    for status in ["miss", "hit", "hit"] {
        let said = edge.say(&get("web", "/kept/1", "")).await;
        assert!(said.ends_with("target"), "{said}");
        let heard = target.heard().pop().unwrap();
        let line = format!("fly-replay-cache-status: {status}\r\n");
        assert!(heard.contains(&line), "{status}\n{heard}");
        assert_eq!(
            status == "miss",
            heard.contains("fly-replay-src"),
            "{heard}"
        );
    }
    assert_eq!(router.heard().len(), 1);
}

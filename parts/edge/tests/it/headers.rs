//! Header fields in and out.

use super::*;

#[tokio::test]
async fn both_sides_see_what_is_documented_and_nothing_forged() {
    let (program, port) = Program::listen(3, 0, |_| {
        answer(200, "Server: mine\r\nFly-Region: ams\r\nVia: 1.1 cdn\r\nFly-Request-Id: fake\r\nKeep-Alive: timeout=5\r\n", "x")
    })
    .await;
    let edge = TestEdge::start(vec![machine_of("web", 3, "iad", port)]).await;
    let said = edge
        .say(&get(
            "web",
            "/p?q",
            "Fly-Client-IP: 6.6.6.6\r\nFly_Client_IP: 6.6.6.6\r\nX-Forwarded-For: 5.5.5.5\r\nX-Forwarded-Proto: https\r\n\
             Fly-Replay-Src: instance=6.6.6.6\r\nFly-Region: forged\r\nTE: trailers\r\n",
        ))
        .await;
    let heard = program.heard().remove(0);
    let bound = edge.address.port();
    assert!(heard.starts_with("GET /p?q HTTP/1.1\r\n"), "{heard}");
    for (name, value) in [
        ("host", "web.mayfly.test"),
        ("fly-client-ip", "127.0.0.1"),
        ("x-forwarded-for", "5.5.5.5, 127.0.0.1, 127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-ssl", "off"),
        ("x-forwarded-port", &bound.to_string()),
        ("fly-forwarded-port", &bound.to_string()),
        ("fly-forwarded-proto", "http"),
        ("fly-region", "iad"),
        ("via", "1.1 mayfly"),
    ] {
        assert_eq!(field(&heard, name), Some(value), "{name}\n{heard}");
    }
    assert!(
        !heard.contains("6.6.6.6") && !heard.contains("forged"),
        "{heard}"
    );
    let id = field(&heard, "fly-request-id").unwrap();
    assert!(id.len() == 30 && id.ends_with("-iad"), "{id}");
    assert_eq!(field(&said, "fly-request-id"), Some(id), "{said}");
    assert_eq!(field(&said, "server"), Some("mayfly"));
    assert_eq!(field(&said, "fly-region"), Some("ams"));
    assert!(said.contains("Via: 1.1 cdn\r\n") && said.contains("Via: 1.1 mayfly\r\n"));
    assert!(
        !said.contains("fake") && !said.contains("Keep-Alive"),
        "{said}"
    );
    let trace = field(&heard, "fly-traceparent").unwrap();
    assert_eq!(trace.len(), 55, "{trace}");
    edge.end().await;
}

#[tokio::test]
async fn proofs_of_ownership_are_answered_before_anything_else() {
    let edge = TestEdge::start(vec![]).await;
    edge.directory.send_modify(|directory| {
        let directory = std::sync::Arc::make_mut(directory);
        directory
            .challenges
            .push(mayfly_edge_api::Challenge::Http01 {
                hostname: "shop.example".to_owned(),
                token: "t0k".to_owned(),
                response: "t0k.print".to_owned(),
            });
    });
    let ask = |host: &str, token: &str| {
        format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
    };
    let said = edge.say(&ask("Shop.example", "t0k")).await;
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\n\r\nt0k.print"),
        "{said}"
    );
    for (host, token) in [
        ("other.example", "t0k"),
        ("shop.example", "other"),
        ("shop.example", ""),
    ] {
        let said = edge.say(&ask(host, token)).await;
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    }
    edge.end().await;
}

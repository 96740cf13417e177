use mayfly_net::Method;
use serde_json::{Value, json};

use crate::stage::Stage;

const PEERS: &str = "/v1/orgs/personal/wireguard_peers";
const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
const OTHER: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";

#[tokio::test]
async fn a_device_is_let_in_before_the_answer_and_out_before_the_next() {
    let stage = Stage::set().await;
    let body = json!({"name": "laptop", "region": "iad", "pubkey": KEY});
    let created = stage.post(PEERS, body).await.expect(201);
    assert_eq!(created["endpointip"], "192.0.2.9");
    assert_eq!(created["endpoint_port"], 51820);
    assert_eq!(created["network"], "default");
    assert_ne!(created["pubkey"], KEY, "that of the gateway");
    let ip = created["peerip"].as_str().unwrap();
    assert!(ip.starts_with("fdaa:0:1:") && ip.ends_with("02"), "{ip}");
    assert_eq!(stage.published.borrow().peers.len(), 1);

    let listed = stage.get(PEERS).await.expect(200);
    assert_eq!(listed["peers"][0]["name"], "laptop");
    assert_eq!(listed["peers"][0]["connected"], false);
    let shown = stage.get(&format!("{PEERS}/laptop")).await.expect(200);
    assert_eq!(shown["pubkey"], KEY);

    stage.delete(&format!("{PEERS}/laptop")).await.expect(204);
    assert_eq!(stage.published.borrow().peers.len(), 0);
    stage.get(&format!("{PEERS}/laptop")).await.expect(404);
    let regions = stage.get("/v1/platform/regions").await.expect(200);
    assert_eq!(
        regions["Regions"][0]["gateway_available"], true,
        "{regions}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_device_is_named() {
    let stage = Stage::set().await;
    let first = json!({"name": "laptop", "pubkey": KEY});
    stage.post(PEERS, first).await.expect(201);
    for (body, said) in [
        (json!({"pubkey": OTHER}), "name: use 1 to 128 letters"),
        (json!({"name": "a b", "pubkey": OTHER}), "got \"a b\""),
        (
            json!({"name": "phone", "pubkey": "AAAA"}),
            "pubkey: `AAAA` is no WireGuard key",
        ),
        (
            json!({"name": "phone", "pubkey": OTHER, "region": "fra"}),
            "use one of iad",
        ),
        (
            json!({"name": "phone", "pubkey": OTHER, "network": "nowhere"}),
            "network: there is no network called \"nowhere\"",
        ),
        (
            json!({"name": "laptop", "pubkey": OTHER}),
            "has a WireGuard peer called \"laptop\"",
        ),
        (
            json!({"name": "phone", "pubkey": KEY}),
            "this key belongs to another peer",
        ),
    ] {
        let answer = stage.post(PEERS, body.clone()).await.expect(422);
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(said), "{body}: {error}");
    }
    let path = "/v1/orgs/nobody/wireguard_peers";
    stage.get(path).await.expect(404);
}

#[tokio::test]
async fn a_program_enters_devices_by_a_token_and_may_do_nothing_else() {
    const TOKENS: &str = "/v1/orgs/personal/wireguard_tokens";
    const DELEGATED: &str = "/api/v1/wire_guard_peers";
    let stage = Stage::set().await;
    let body = json!({"name": "robots"});
    let created = stage.post(TOKENS, body.clone()).await.expect(201);
    let token = created["token"].as_str().unwrap().to_owned();
    let listed = stage.get(TOKENS).await.expect(200);
    assert_eq!(listed["tokens"][0]["name"], "robots");
    assert!(!listed.to_string().contains(&token), "{listed}");
    let again = stage.post(TOKENS, body).await.refused(422);
    assert!(again.contains("has a WireGuard token called"), "{again}");
    let named = stage
        .post(TOKENS, json!({"name": "a b"}))
        .await
        .refused(422);
    assert!(named.contains("name: use 1 to 128 letters"), "{named}");

    let by_token = |method, path: String, body: Value| {
        let headers = ("authorization", format!("Bearer {token}"));
        let stage = &stage;
        async move {
            let headers = [(headers.0, headers.1.as_str())];
            let body = Some(body.to_string().into_bytes());
            stage.call(method, &path, &headers, body).await
        }
    };
    let start = json!({"name": "robot", "group": "ci", "region": "iad", "pubkey": KEY});
    let started = by_token(Method::POST, DELEGATED.to_owned(), start)
        .await
        .expect(201);
    assert_eq!(started["us"], started["peerip"]);
    assert_eq!(started["them"], "192.0.2.9");
    assert_eq!(started["key"], started["pubkey"], "that of the gateway");
    assert_eq!(stage.published.borrow().peers.len(), 1);
    let shown = stage.get(&format!("{PEERS}/robot")).await.expect(200);
    assert_eq!(
        (&shown["token"], &shown["group"]),
        (&json!("robots"), &json!("ci"))
    );

    let robot = format!("{DELEGATED}/robot");
    let updated = by_token(Method::PUT, robot.clone(), json!({"pubkey": OTHER}))
        .await
        .expect(200);
    assert_eq!(updated["us"], started["us"], "it keeps its address");
    let keys: Vec<String> = stage
        .published
        .borrow()
        .peers
        .iter()
        .map(|peer| peer.public_key.to_string())
        .collect();
    assert_eq!(keys, [OTHER]);
    let own = json!({"name": "laptop", "pubkey": KEY});
    stage.post(PEERS, own).await.expect(201);
    let laptop = format!("{DELEGATED}/laptop");
    let refused = by_token(Method::PUT, laptop, json!({"pubkey": "AAAA"}))
        .await
        .refused(422);
    assert!(refused.contains("pubkey"), "{refused}");
    let laptop = format!("{DELEGATED}/laptop");
    let unknown = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=";
    let refused = by_token(Method::PUT, laptop, json!({"pubkey": unknown}))
        .await
        .refused(404);
    assert!(refused.contains("no WireGuard peer called"), "{refused}");
    by_token(Method::GET, PEERS.to_owned(), json!({}))
        .await
        .refused(401);
    let user_s = stage.post(DELEGATED, json!({"name": "x", "pubkey": unknown}));
    user_s.await.refused(401);

    stage.delete(&format!("{TOKENS}/robots")).await.expect(204);
    stage.delete(&format!("{TOKENS}/robots")).await.refused(404);
    by_token(Method::PUT, robot, json!({"pubkey": KEY}))
        .await
        .refused(401);
    stage.get(&format!("{PEERS}/robot")).await.expect(200);
}

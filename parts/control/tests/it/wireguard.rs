use serde_json::json;

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

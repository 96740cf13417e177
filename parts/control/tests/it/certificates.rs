use std::time::Duration;

use mayfly_certs::LocalAuthority;
use mayfly_runtime::{Clock, SystemEntropy};
use serde_json::{Value, json};

use crate::directory::published;
use crate::stage::Stage;

const PATH: &str = "/v1/apps/stage/certificates";
const HOUR: Duration = Duration::from_secs(3600);

/// A chain and key from an authority of the user's own.
fn brought(stage: &Stage, name: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let now = stage.clock.now();
    let authority = LocalAuthority::open(folder.path(), now, &SystemEntropy).unwrap();
    let names = [name.to_owned()];
    let pair = authority
        .issue(&names, 100 * HOUR, now, &SystemEntropy)
        .unwrap();
    (pair.chain, pair.key.reveal().to_owned())
}

async fn add(stage: &Stage, hostname: &str) -> Value {
    let body = json!({ "hostname": hostname });
    stage.post(&format!("{PATH}/acme"), body).await.expect(201)
}

async fn import(
    stage: &Stage,
    app: &str,
    hostname: &str,
    pair: &(String, String),
) -> crate::stage::Answer {
    let body = json!({ "hostname": hostname, "fullchain": pair.0, "private_key": pair.1 });
    let path = format!("/v1/apps/{app}/certificates/custom");
    stage.post(&path, body).await
}

/// Waits until edges have, or no longer have, a certificate for `hostname`; returns its chain.
async fn served(stage: &Stage, hostname: &str, wanted: bool) -> Option<String> {
    let mut feed = stage.published.clone();
    let find = |directory: &mayfly_edge_api::Directory| {
        let mut certificates = directory.certificates.iter();
        let found = certificates.find(|held| held.hostnames.iter().any(|name| name == hostname));
        found.map(|held| held.chain.clone())
    };
    let directory = published(&mut feed, |directory| find(directory).is_some() == wanted).await;
    find(&directory)
}

#[tokio::test]
async fn the_platforms_own_names_have_a_certificate_from_the_start() {
    let stage = Stage::set().await;
    served(&stage, "*.test.localhost", true).await.unwrap();
    served(&stage, "test.localhost", true).await.unwrap();
    let root = stage.raw("/v1/authority/root.pem").await;
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"), "{root}");
}

#[tokio::test]
async fn a_custom_name_leads_to_its_app_and_gets_a_certificate() {
    let stage = Stage::set().await;
    let added = add(&stage, "WWW.Shop.test.").await;
    assert_eq!(added["hostname"], "www.shop.test");
    assert_eq!(added["acme_requested"], true);
    assert_eq!(added["dns_requirements"]["a"][0], "127.0.0.1");
    assert_eq!(added["dns_requirements"]["cname"], "stage.test.localhost");
    assert_eq!(
        added["dns_requirements"]["ownership"]["name"],
        "_fly-ownership.www.shop.test"
    );
    served(&stage, "www.shop.test", true).await;
    let path = format!("{PATH}/www.shop.test");
    let detail = stage.get(&path).await.expect(200);
    assert_eq!(detail["status"], "active");
    assert_eq!(detail["configured"], false);
    assert_eq!(detail["certificates"][0]["source"], "fly");
    assert_eq!(detail["certificates"][0]["issued"][0]["type"], "ecdsa");
    assert_eq!(detail["validation_errors"][0]["code"], "DNS_NOT_CONFIGURED");

    stage.dns.alias("www.shop.test", "stage.test.localhost");
    let checked = stage
        .post(&format!("{path}/check"), json!({}))
        .await
        .expect(200);
    assert_eq!(checked["configured"], true);
    assert_eq!(checked["dns_records"]["cname"][0], "stage.test.localhost");
    assert_eq!(checked["validation_errors"], json!([]));

    let list = stage.get(&format!("{PATH}?filter=shop")).await.expect(200);
    assert_eq!(list["total_count"], 1);
    assert_eq!(list["certificates"][0]["has_fly_certificate"], true);
    let events = stage.get("/v1/events?app=stage").await.expect(200);
    let kinds: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert!(
        kinds.contains(&"hostname.create") && kinds.contains(&"certificate.issue"),
        "{kinds:?}"
    );

    stage.delete(&path).await.expect(204);
    served(&stage, "www.shop.test", false).await;
    stage.get(&path).await.refused(404);
}

#[tokio::test]
async fn what_is_wrong_with_a_name_or_a_pair_is_said() {
    let stage = Stage::set().await;
    for (hostname, word) in [
        ("", "required"),
        ("shop", "two labels"),
        ("192.0.2.1", "address"),
        ("a.test.localhost", "within test.localhost"),
        ("bücher.test", "xn--"),
    ] {
        let body = json!({ "hostname": hostname });
        let refused = stage.post(&format!("{PATH}/acme"), body).await.refused(422);
        assert!(refused.contains(word), "{hostname}: {refused}");
    }
    let pair = brought(&stage, "shop.test");
    let other = brought(&stage, "shop.test");
    for (hostname, chain, key, word) in [
        ("other.test", &pair.0, &pair.1, "not for other.test"),
        ("shop.test", &pair.0, &other.1, "does not belong"),
        ("shop.test", &pair.1, &pair.1, "no certificate"),
        ("shop.test", &pair.0, &pair.0, "no key"),
    ] {
        let bad = (chain.clone(), key.clone());
        let refused = import(&stage, "stage", hostname, &bad).await.refused(422);
        assert!(refused.contains(word), "{hostname}: {refused}");
    }
    stage.clock.advance(101 * HOUR);
    let refused = import(&stage, "stage", "shop.test", &pair)
        .await
        .refused(422);
    assert!(refused.contains("expired"), "{refused}");
    stage.get(&format!("{PATH}/shop.test")).await.refused(404);
    stage.get("/v1/apps/absent/certificates").await.refused(404);
}

#[tokio::test]
async fn a_brought_certificate_is_served_first_and_gives_way() {
    let stage = Stage::set().await;
    add(&stage, "shop.test").await;
    let ours = served(&stage, "shop.test", true).await.unwrap();
    let pair = brought(&stage, "shop.test");
    import(&stage, "stage", "shop.test", &pair)
        .await
        .expect(201);
    let mut feed = stage.published.clone();
    published(&mut feed, |directory| {
        directory
            .certificates
            .iter()
            .any(|held| held.chain == pair.0)
    })
    .await;
    let path = format!("{PATH}/shop.test");
    let detail = stage.get(&path).await.expect(200);
    assert_eq!(detail["certificates"].as_array().unwrap().len(), 2);
    stage.delete(&format!("{path}/custom")).await.expect(200);
    published(&mut feed, |directory| {
        directory.certificates.iter().any(|held| held.chain == ours)
    })
    .await;
    stage.delete(&format!("{path}/custom")).await.refused(404);
    let left = stage.delete(&format!("{path}/acme")).await.expect(200);
    assert_eq!(left["acme_requested"], false);
    served(&stage, "shop.test", false).await;
}

#[tokio::test]
async fn a_name_somebody_has_moves_only_with_a_proof() {
    let stage = Stage::set().await;
    stage
        .post("/v1/orgs", json!({"name": "Rivals"}))
        .await
        .expect(201);
    let app = json!({"app_name": "rival", "org_slug": "rivals"});
    stage.post("/v1/apps", app).await.expect(201);
    add(&stage, "shop.test").await;
    let pair = brought(&stage, "shop.test");
    let late = import(&stage, "rival", "shop.test", &pair)
        .await
        .expect(201);
    assert_eq!(late["status"], "pending_ownership");
    let check = "/v1/apps/rival/certificates/shop.test/check";
    let checked = stage.post(check, json!({})).await.expect(200);
    assert_eq!(checked["status"], "pending_ownership");

    let value = late["dns_requirements"]["ownership"]["app_value"]
        .as_str()
        .unwrap();
    stage.dns.text(
        "_fly-ownership.shop.test",
        &format!("something else; {value}"),
    );
    let checked = stage.post(check, json!({})).await.expect(200);
    assert_eq!(checked["status"], "active");
    assert_eq!(checked["validation"]["ownership_txt_configured"], true);
    let lost = stage.get(&format!("{PATH}/shop.test")).await.expect(200);
    assert_eq!(lost["status"], "pending_ownership");
    let mut feed = stage.published.clone();
    published(&mut feed, |directory| {
        directory.apps.iter().all(|app| {
            app.hostnames.contains(&"shop.test".to_owned()) == (app.name.as_str() == "rival")
        })
    })
    .await;

    // Below a wildcard of another organization nobody gets a name for the asking.
    add(&stage, "*.mall.test").await;
    let pair = brought(&stage, "a.mall.test");
    let below = import(&stage, "rival", "a.mall.test", &pair)
        .await
        .expect(201);
    assert_eq!(below["status"], "pending_ownership");
}

#[tokio::test]
async fn renewal_comes_before_the_end() {
    let stage = Stage::set().await;
    add(&stage, "shop.test").await;
    let first = served(&stage, "shop.test", true).await.unwrap();
    // 90 days of life: 60 are over.
    stage.clock.advance(61 * 24 * HOUR);
    let mut feed = stage.published.clone();
    published(&mut feed, |directory| {
        let names = ["shop.test", "*.test.localhost"];
        names.iter().all(|name| {
            directory
                .certificates
                .iter()
                .any(|held| held.hostnames.iter().any(|held| held == name) && held.chain != first)
        })
    })
    .await;
}
#[tokio::test]
async fn pages_go_on_where_the_last_ended() {
    let stage = Stage::set().await;
    for hostname in ["c.test", "a.test", "b_1.test"] {
        add(&stage, hostname).await;
    }
    let page = stage.get(&format!("{PATH}?limit=2")).await.expect(200);
    assert_eq!(page["total_count"], 3);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = stage
        .get(&format!("{PATH}?limit=2&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(rest["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(rest["certificates"][0]["hostname"], "c.test");
    assert_eq!(rest["next_cursor"], Value::Null);
    // An underscore is no placeholder.
    let found = stage.get(&format!("{PATH}?filter=_1")).await.expect(200);
    assert_eq!(found["total_count"], 1);
    stage.get(&format!("{PATH}?limit=0")).await.refused(400);
}

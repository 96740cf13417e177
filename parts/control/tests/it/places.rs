use mayfly_net::Method;
use serde_json::{Value, json};

use crate::stage::{Stage, sleeper};

#[tokio::test]
async fn the_platform_says_what_it_offers() {
    let stage = Stage::set().await;
    let regions = stage.get("/v1/platform/regions").await.expect(200);
    assert_eq!(regions["Nearest"], "iad");
    assert_eq!(regions["Regions"][0]["name"], "Ashburn, Virginia (US)");
    assert_eq!(regions["Regions"][0]["capacity"], 16);
    for (query, room) in [
        ("size=performance-1x", json!(2)),
        ("size=shared-cpu-1x&memory_mb=1024", json!(4)),
        ("cpu_kind=shared&cpus=4", json!(4)),
        ("size=performance-8x", Value::Null),
    ] {
        let found = stage.get(&format!("/v1/platform/regions?{query}")).await;
        assert_eq!(found.expect(200)["Regions"][0]["capacity"], room, "{query}");
    }
    for wrong in ["size=huge", "cpu_kind=fast", "gpus=1", "memory_mb=much"] {
        let answer = stage.get(&format!("/v1/platform/regions?{wrong}")).await;
        answer.refused(400);
    }
    let sizes = stage.get("/v1/platform/vm_sizes").await.expect(200);
    assert_eq!(sizes["sizes"][0]["name"], "shared-cpu-1x");
    let wanted = json!({"region": "iad", "count": 3, "compute": {"cpu_kind": "shared"}, "weights": {"region": 1}});
    let placed = stage
        .post("/v1/platform/placements", wanted)
        .await
        .expect(200);
    assert_eq!(
        placed["Regions"],
        json!([{"Region": "iad", "Count": 3, "Concurrency": 1}])
    );
    let far = stage
        .post("/v1/platform/placements", json!({"region": "fra"}))
        .await;
    far.refused(422);
    let status = stage.get("/v1/status").await.expect(200);
    assert_eq!(status["version"], "1.2.3");
    assert_eq!(status["apps"], 1);
    assert!(status["loops"].get("control.pump").is_some(), "{status}");
    let health = [("authorization", "none")];
    stage
        .call(Method::GET, "/healthz", &health, None)
        .await
        .expect(200);
}

#[tokio::test]
async fn organizations_are_apart() {
    let stage = Stage::set().await;
    let made = stage
        .post("/v1/orgs", json!({"name": "My Team"}))
        .await
        .expect(201);
    assert_eq!(made["slug"], "my-team");
    stage
        .post("/v1/orgs", json!({"name": "My Team"}))
        .await
        .refused(422);
    stage
        .post("/v1/orgs", json!({"name": " "}))
        .await
        .refused(422);
    let orgs = stage.get("/v1/orgs").await.expect(200);
    assert_eq!(orgs["organizations"].as_array().unwrap().len(), 2);
    let shown = stage
        .get("/api/v1/organizations/personal")
        .await
        .expect(200);
    assert_eq!(shown["organization"]["personal"], true);
    assert_eq!(shown["organization"]["billing_status"], "CURRENT");
    stage.get("/v1/orgs/nonesuch").await.refused(404);
    stage
        .post(
            "/v1/apps",
            json!({"app_name": "theirs", "org_slug": "my-team"}),
        )
        .await
        .expect(201);
    stage
        .post("/v1/apps", json!({"app_name": "x", "org_slug": "nonesuch"}))
        .await
        .refused(404);
    let listed = stage.get("/v1/apps?org_slug=my-team").await.expect(200);
    assert_eq!(listed["total_apps"], 1);
    assert_eq!(listed["apps"][0]["name"], "theirs");
    let all = stage.get("/v1/apps").await.expect(200);
    assert_eq!(all.as_array().unwrap().len(), 2);
    let me = stage.get("/v1/tokens/current").await.expect(200);
    assert_eq!(me["user"]["email"], "admin@test.localhost");
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    use mayfly_control_store::{By, NewOrg, NewToken, OrgKind, TokenKind};
    use mayfly_types::{Digest, OrgId, Timestamp, TokenId, UserId};
    use sha2::{Digest as _, Sha256};

    let stage = Stage::set().await;
    let (one, _) = stage.machine(sleeper()).await;
    let by = By::platform(Timestamp::from_millis(1));
    let user = UserId::from_random([1; 16]);
    let email = "eve@test.localhost".to_owned();
    stage
        .store
        .create_user(user, email, "eve".to_owned(), by.clone())
        .await
        .unwrap();
    let org = NewOrg {
        id: OrgId::from_random([2; 16]),
        slug: "eves".parse().unwrap(),
        name: "Eve's".to_owned(),
        kind: OrgKind::Shared,
    };
    stage.store.create_org(org, user, by.clone()).await.unwrap();
    let token = NewToken {
        id: TokenId::from_random([3; 16]),
        digest: Digest::from_sha256(Sha256::digest(b"eve").into()),
        name: "eve".to_owned(),
        kind: TokenKind::Opaque,
        user_id: user,
        org_id: None,
        expires_at: Some(Timestamp::from_millis(i64::MAX)),
    };
    stage.store.create_token(token, by).await.unwrap();
    let as_eve = [("authorization", "FlyV1 nobody,Bearer eve")];
    let call = async |method: Method, path: &str| stage.call(method, path, &as_eve, None).await;
    assert_eq!(call(Method::GET, "/v1/apps").await.expect(200), json!([]));
    let hidden = call(Method::GET, "/v1/apps/stage").await.refused(404);
    let absent = call(Method::GET, "/v1/apps/absent").await.refused(404);
    assert_eq!(hidden.replace("stage", "absent"), absent);
    call(Method::GET, &one).await.refused(404);
    call(Method::DELETE, &format!("{one}?force=true"))
        .await
        .refused(404);
    call(Method::GET, "/api/v1/apps/stage/logs")
        .await
        .refused(404);
    call(Method::GET, "/v1/orgs/personal/machines")
        .await
        .refused(404);
    let events = call(Method::GET, "/v1/events").await.expect(200);
    let seen = events["events"].as_array().unwrap();
    assert!(seen.iter().all(|event| event["org"] == "eves"), "{events}");
    for header in ["", "Bearer nobody", "Basic x"] {
        let headers = [("authorization", header)];
        stage
            .call(Method::GET, "/v1/apps", &headers, None)
            .await
            .refused(401);
    }
}

#[tokio::test]
async fn images_come_and_are_found() {
    let stage = Stage::set().await;
    let path = "/v1/images?name=mine:1";
    let bad = stage
        .call(Method::POST, path, &[], Some(b"nonsense".to_vec()))
        .await;
    assert!(bad.refused(422).contains("not a tar archive"));
    let taken = stage
        .call(Method::POST, path, &[], Some(b"archive".to_vec()))
        .await
        .expect(200);
    assert_eq!(taken["images"].as_array().unwrap().len(), 1);
    let shown = stage.get("/v1/images/show?image=mine:1").await.expect(200);
    assert_eq!(shown["digest"], taken["images"][0]["digest"]);
    stage
        .get("/v1/images/show?image=yours:1")
        .await
        .refused(404);
    stage.get("/v1/images/show").await.refused(400);
    stage
        .post("/v1/images/pull", json!({"image": "yours:1"}))
        .await
        .expect(200);
    stage
        .post("/v1/images/pull", json!({"image": "A B"}))
        .await
        .refused(422);
    stage
        .post("/v1/images/pull", json!({"image": "x", "username": "u"}))
        .await
        .refused(422);
    let listed = stage.get("/v1/images").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    stage.get("/v1/images/pulls").await.expect(200);
    stage
        .call(Method::POST, "/v1/images/prune", &[], None)
        .await
        .expect(200);
}

#[tokio::test]
async fn logs_are_read_page_by_page() {
    let stage = Stage::set().await;
    let (_, machine) = stage.machine(sleeper()).await;
    let path = "/api/v1/apps/stage/logs";
    let page = stage.get(path).await.expect(200);
    let lines = page["data"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["attributes"]["message"], "line 1");
    assert_eq!(lines[0]["attributes"]["level"], "info");
    assert_eq!(lines[0]["attributes"]["region"], "iad");
    assert_eq!(lines[0]["attributes"]["meta"]["event"]["provider"], "app");
    let next = page["meta"]["next_token"].as_str().unwrap();
    let more = stage
        .get(&format!("{path}?next_token={next}&wait=0"))
        .await
        .expect(200);
    assert_eq!(more["data"], json!([]));
    assert_eq!(more["meta"]["next_token"], next);
    let id = machine["id"].as_str().unwrap();
    let of_one = stage
        .get(&format!("{path}?instance={id}"))
        .await
        .expect(200);
    assert_ne!(of_one["data"], Value::Array(Vec::new()));
    stage
        .get(&format!("{path}?instance=nonesuch"))
        .await
        .refused(404);
    stage.get(&format!("{path}?region=waw")).await.refused(422);
    stage
        .get(&format!("{path}?next_token=foreign"))
        .await
        .refused(400);
}

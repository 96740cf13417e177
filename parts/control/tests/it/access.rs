use http::Method;
use mayfly_access::{Caveat, Macaroon, caveats_from_json, header_of};
use serde_json::{Value, json};

use crate::stage::{ANONYMOUS, Answer, Stage, sleeper};

/// Somebody with a token.
struct Holder<'a> {
    stage: &'a Stage,
    authorization: String,
}

impl Holder<'_> {
    async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let headers = [("authorization", self.authorization.as_str())];
        let body = (!body.is_null()).then(|| body.to_string().into_bytes());
        self.stage.call(method, path, &headers, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, body).await
    }
}

async fn token<'a>(stage: &'a Stage, org: &str, wish: Value) -> Holder<'a> {
    let path = format!("/v1/orgs/{org}/tokens");
    let made = stage.post(&path, wish).await.expect(201);
    Holder {
        stage,
        authorization: made["token"].as_str().unwrap().to_owned(),
    }
}

fn narrowed<'a>(holder: &Holder<'a>, caveats: Value) -> Holder<'a> {
    let text = holder.authorization.strip_prefix("FlyV1 ").unwrap();
    let mut token: Macaroon = text.parse().unwrap();
    for caveat in caveats_from_json(&caveats).unwrap() {
        token.add(caveat).unwrap();
    }
    Holder {
        stage: holder.stage,
        authorization: header_of([&token]),
    }
}

async fn other_app(stage: &Stage) {
    let body = json!({"app_name": "other", "org_slug": "personal"});
    stage.post("/v1/apps", body).await.expect(201);
}

#[tokio::test]
async fn a_deploy_token_opens_one_app() {
    let stage = Stage::set().await;
    other_app(&stage).await;
    let wish = json!({"profile": "deploy", "app": "stage", "name": "ci", "expiry": "720h"});
    let ci = token(&stage, "personal", wish).await;
    assert!(ci.authorization.starts_with("FlyV1 fm2_"));

    let made = ci
        .post("/v1/apps/stage/machines", json!({"config": sleeper()}))
        .await
        .expect(200);
    let machine = format!("/v1/apps/stage/machines/{}", made["id"].as_str().unwrap());
    ci.post(&format!("{machine}/stop"), json!({}))
        .await
        .expect(200);
    ci.post("/v1/apps/stage/secrets", json!({"values": {"A": "b"}}))
        .await
        .expect(200);
    let listed = ci.get("/v1/apps").await.expect(200);
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|app| &app["name"])
        .collect();
    assert_eq!(names, ["stage"]);

    // Another app is not there for it.
    ci.get("/v1/apps/other").await.refused(404);
    ci.post("/v1/apps/other/machines", json!({"config": sleeper()}))
        .await
        .refused(404);
    ci.get("/v1/orgs/personal").await.expect(200);
    ci.get("/v1/orgs/personal/machines").await.refused(403);
    ci.get("/v1/events").await.refused(403);
    let events = ci.get("/v1/events?app=stage").await.expect(200);
    assert!(!events["events"].as_array().unwrap().is_empty());
    ci.get("/v1/events?app=other").await.refused(404);
    let app = json!({"app_name": "third", "org_slug": "personal"});
    ci.post("/v1/apps", app).await.refused(403);
    // Nor does it make tokens, which would outlive it.
    let wish = json!({"profile": "deploy_organization"});
    ci.post("/v1/orgs/personal/tokens", wish).await.refused(403);
    ci.post("/v1/orgs", json!({"name": "mine"}))
        .await
        .refused(403);
    let me = ci.get("/v1/tokens/current").await.expect(200);
    assert_eq!(me["token"]["caveats"][0][0]["type"], "Organization");

    // A key for shells is good for its own app only.
    let certificates = "/v1/orgs/personal/ssh/certificates";
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJaFNJOFyLGGnSMz8WIvOQwVhIvzY7bQzrBbOUSFbeDg x";
    ci.post(certificates, json!({"public_key": key}))
        .await
        .refused(403);
    let other = json!({"public_key": key, "apps": ["other"]});
    ci.post(certificates, other).await.refused(403);
    let own = json!({"public_key": key, "apps": ["stage"]});
    ci.post(certificates, own).await.expect(201);
}

#[tokio::test]
async fn tokens_are_narrowed_without_asking() {
    let stage = Stage::set().await;
    let (machine, _) = stage.machine(sleeper()).await;
    let org = token(
        &stage,
        "personal",
        json!({"profile": "deploy_organization"}),
    )
    .await;
    org.get(&machine).await.expect(200);

    let reads = narrowed(&org, json!([{"type": "Action", "body": "r"}]));
    reads.get(&machine).await.expect(200);
    let refused = reads
        .post(&format!("{machine}/stop"), json!({}))
        .await
        .refused(403);
    assert!(refused.contains("\"C\""), "{refused}");
    let command = json!({"command": ["id"]});
    reads
        .post(&format!("{machine}/exec"), command.clone())
        .await
        .refused(403);

    let runs = narrowed(
        &org,
        json!([{"type": "IfPresent", "body": {
            "ifs": [{"type": "Commands", "body": [{"args": ["id"], "exact": true}]}], "else": "r"
        }}]),
    );
    let other = json!({"command": ["id", "root"]});
    runs.post(&format!("{machine}/exec"), other)
        .await
        .refused(403);
    let allowed = runs.post(&format!("{machine}/exec"), command).await;
    assert_ne!(allowed.status, 403);
    runs.get(&machine).await.expect(200);
    runs.post(&format!("{machine}/stop"), json!({}))
        .await
        .refused(403);

    let late = narrowed(
        &org,
        json!([{"type": "ValidityWindow", "body": {"not_before": 0, "not_after": 1}}]),
    );
    late.get(&machine).await.refused(401);
    let unknown = {
        let text = org.authorization.strip_prefix("FlyV1 ").unwrap();
        let mut token: Macaroon = text.parse().unwrap();
        token
            .add(Caveat::Unknown {
                kind: 1 << 50,
                body: vec![0x90],
            })
            .unwrap();
        Holder {
            stage: &stage,
            authorization: header_of([&token]),
        }
    };
    unknown.get(&machine).await.refused(404);

    // What somebody signed with a key of their own is nobody's.
    let text = org.authorization.strip_prefix("FlyV1 ").unwrap();
    let real: Macaroon = text.parse().unwrap();
    let forged = Macaroon::new(real.nonce.clone(), &real.location, b"a guess");
    let forged = Holder {
        stage: &stage,
        authorization: header_of([&forged]),
    };
    forged.get("/v1/apps").await.refused(401);
}

#[tokio::test]
async fn a_token_is_limited_to_images_regions_and_sources() {
    let stage = Stage::set().await;
    let (machine, _) = stage.machine(sleeper()).await;
    let wish = json!({"profile": "deploy", "app": "stage"});
    let ci = token(&stage, "personal", wish).await;
    let machines = "/v1/apps/stage/machines";
    let make = json!({"config": sleeper()});
    let limited = |kind: &str, field: &str, allowed: &str| {
        narrowed(&ci, json!([{"type": kind, "body": {field: [allowed]}}]))
    };
    let holder = limited("Images", "images", "docker.io/library/sleeper");
    holder.post(machines, make.clone()).await.expect(200);
    let config = json!({"config": sleeper()});
    holder.post(&machine, config.clone()).await.expect(200);
    let holder = limited("Images", "images", "other");
    for (path, body) in [(machines, &make), (machine.as_str(), &config)] {
        let refused = holder.post(path, body.clone()).await.refused(403);
        assert!(refused.contains("the token's caveat Images"), "{refused}");
        assert!(refused.contains("docker.io/library/sleeper"), "{refused}");
    }
    holder.get(&machine).await.expect(200);

    let holder = limited("Regions", "regions", "zzz");
    let stop = format!("{machine}/stop");
    let nothing = json!({});
    for (path, body) in [
        (machines, &make),
        (machine.as_str(), &config),
        (stop.as_str(), &nothing),
    ] {
        let refused = holder.post(path, body.clone()).await.refused(403);
        assert!(refused.contains("the token's caveat Regions"), "{refused}");
    }
    holder.get(&machine).await.expect(200);
    let there = stage.get(&machine).await.expect(200);
    let holder = limited("Regions", "regions", there["region"].as_str().unwrap());
    holder.post(&stop, nothing.clone()).await.expect(200);

    let holder = limited("Sources", "sources", "203.0.113.0/24");
    let refused = holder.get(&machine).await.refused(403);
    assert!(refused.contains("the token's caveat Sources"), "{refused}");
    let holder = limited("Sources", "sources", "127.0.0.1");
    holder.get(&machine).await.expect(200);
    let events = stage.get("/v1/events?limit=1000").await.expect(200);
    let sources = events["events"].as_array().unwrap().iter();
    let sources: Vec<&Value> = sources
        .filter(|event| event["kind"] == "token.source")
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
}

#[tokio::test]
async fn tokens_are_listed_and_revoked() {
    let stage = Stage::set().await;
    let wish = json!({"profile": "deploy", "app": "stage", "name": "ci"});
    let ci = token(&stage, "personal", wish).await;
    let reader = token(
        &stage,
        "personal",
        json!({"profile": "readonly", "name": "reader"}),
    )
    .await;
    reader.get("/v1/apps/stage").await.expect(200);
    reader
        .call(Method::DELETE, "/v1/apps/stage", Value::Null)
        .await
        .refused(403);

    let names = |listed: &Value| -> Vec<String> {
        let tokens = listed["tokens"].as_array().unwrap().iter();
        tokens
            .map(|token| token["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let of_app = stage
        .get("/v1/orgs/personal/tokens?app=stage")
        .await
        .expect(200);
    assert_eq!(names(&of_app), ["ci"]);
    let of_org = stage.get("/v1/orgs/personal/tokens").await.expect(200);
    assert_eq!(names(&of_org), ["reader"]);
    assert!(!of_app.to_string().contains("fm2_"));

    let id = of_app["tokens"][0]["id"].as_str().unwrap().to_owned();
    ci.call(Method::DELETE, &format!("/v1/tokens/{id}"), Value::Null)
        .await
        .refused(403);
    stage.delete(&format!("/v1/tokens/{id}")).await.expect(200);
    ci.get("/v1/apps/stage").await.refused(401);
    let refused = stage.delete("/v1/tokens/fm2_nonsense").await.refused(404);
    assert!(!refused.contains("nonsense"), "{refused}");

    let short = stage
        .post("/v1/apps/stage/deploy_token", json!({"expiry": "1h"}))
        .await
        .expect(201);
    assert!(short["token"].as_str().unwrap().starts_with("FlyV1 "));
    for (wish, text) in [
        (json!({"profile": "deploy"}), "app is required"),
        (
            json!({"profile": "root"}),
            "profile must be one of deploy, deploy_organization, readonly",
        ),
        (
            json!({"profile": "readonly", "app": "stage"}),
            "only a token with profile deploy",
        ),
        (
            json!({"profile": "readonly", "expiry": "1 year"}),
            "expiry: `1 year` is not a duration",
        ),
        (
            json!({"profile": "readonly", "expiry": "0s"}),
            "expiry must be from 1s",
        ),
        (
            json!({"profile": "readonly", "name": "a\nb"}),
            "name: use 1 to 100",
        ),
    ] {
        let refused = stage
            .post("/v1/orgs/personal/tokens", wish)
            .await
            .refused(422);
        assert!(refused.contains(text), "{refused}");
    }
    let events = stage.get("/v1/events?limit=1000").await.expect(200);
    assert!(!events.to_string().contains("fm2_"));
}

#[tokio::test]
async fn a_user_has_several_tokens_and_keeps_one() {
    let stage = Stage::set().await;
    let last = "this is the last token of its user";
    let ids = async || -> Vec<String> {
        let listed = stage.get("/v1/tokens").await.expect(200);
        assert!(!listed.to_string().contains("fo1_"), "{listed}");
        let tokens = listed["tokens"].as_array().unwrap().iter();
        let good = tokens.filter(|token| token["revoked_at"].is_null());
        good.map(|token| token["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = ids().await;
    assert_eq!(first.len(), 1);
    let path = format!("/v1/tokens/{}", first[0]);
    let refused = stage.delete(&path).await.refused(422);
    assert!(refused.contains(last), "{refused}");

    let wish = json!({"name": "laptop", "expiry": "1h"});
    let made = stage.post("/v1/tokens", wish).await.expect(201);
    let laptop = Holder {
        stage: &stage,
        authorization: format!("Bearer {}", made["token"].as_str().unwrap()),
    };
    assert!(laptop.authorization.contains(" fo1_"));
    laptop.get("/v1/apps/stage").await.expect(200);
    assert_eq!(ids().await.len(), 2);
    // A narrower token makes and sees none of them.
    let org = token(
        &stage,
        "personal",
        json!({"profile": "deploy_organization"}),
    )
    .await;
    org.post("/v1/tokens", json!({})).await.refused(403);
    org.get("/v1/tokens").await.refused(403);
    let id = made["id"].as_str().unwrap();
    stage.delete(&format!("/v1/tokens/{id}")).await.expect(200);
    laptop.get("/v1/apps/stage").await.refused(401);
    assert_eq!(ids().await, first);
    // One that has expired is none to be left with.
    stage
        .post("/v1/tokens", json!({"expiry": "10s"}))
        .await
        .expect(201);
    stage.clock.advance(std::time::Duration::from_secs(11));
    stage.delete(&path).await.refused(422);
    for (wish, text) in [
        (json!({"expiry": "0s"}), "expiry must be from 1s"),
        (json!({"name": "a\nb"}), "name: use 1 to 100"),
    ] {
        let refused = stage.post("/v1/tokens", wish).await.refused(422);
        assert!(refused.contains(text), "{refused}");
    }
    let unknown = stage.post("/v1/tokens", json!({"app": "stage"})).await;
    assert!(unknown.refused(400).contains("app"));
}

#[tokio::test]
async fn members_are_invited_and_admins_stay_in_charge() {
    let stage = Stage::set().await;
    let personal = "/v1/orgs/personal/invitations";
    stage
        .post(personal, json!({"email": "bob@example.org"}))
        .await
        .refused(422);
    stage
        .post("/v1/orgs", json!({"name": "Team"}))
        .await
        .expect(201);
    let invitations = "/v1/orgs/team/invitations";
    for (body, text) in [
        (json!({"email": "bob"}), "email must be an address"),
        (
            json!({"email": "bob@example.org", "role": "king"}),
            "role must be admin or member",
        ),
        (
            json!({"email": "admin@test.localhost"}),
            "is a member of organization",
        ),
    ] {
        let refused = stage.post(invitations, body).await.refused(422);
        assert!(refused.contains(text), "{refused}");
    }
    let invited = stage
        .post(invitations, json!({"email": "bob@example.org"}))
        .await
        .expect(201);
    let code = invited["code"].as_str().unwrap();
    let listed = stage.get(invitations).await.expect(200);
    assert_eq!(listed["invitations"][0]["email"], "bob@example.org");
    assert!(!listed.to_string().contains(code));

    let anonymous = async |body: Value| {
        let body = Some(body.to_string().into_bytes());
        let path = "/v1/invitations/accept";
        stage.call(Method::POST, path, &[ANONYMOUS], body).await
    };
    anonymous(json!({"code": "wrong", "name": "Bob"}))
        .await
        .refused(404);
    anonymous(json!({"code": code})).await.refused(422);
    let joined = anonymous(json!({"code": code, "name": "Bob"}))
        .await
        .expect(201);
    anonymous(json!({"code": code, "name": "Eve"}))
        .await
        .refused(404);
    let bob = Holder {
        stage: &stage,
        authorization: format!("Bearer {}", joined["token"].as_str().unwrap()),
    };
    let orgs = bob.get("/v1/orgs").await.expect(200);
    assert_eq!(orgs["organizations"].as_array().unwrap().len(), 2);
    // Everybody has a personal organization, whatever its slug is.
    let own = bob.get("/v1/orgs/personal").await.expect(200);
    assert_eq!(own["members"][0]["email"], "bob@example.org");
    bob.get("/v1/apps/stage").await.refused(404);
    let app = json!({"app_name": "teams", "org_slug": "team"});
    bob.post("/v1/apps", app).await.expect(201);

    // Nor does a guest put images under names that everybody's machines run.
    for path in ["/v1/images?name=nginx:latest", "/v1/images/prune"] {
        let refused = bob.post(path, json!({})).await.refused(403);
        assert!(refused.contains("operator"), "{refused}");
    }

    // A member does not decide about members, nor does a token that bob makes.
    bob.post(invitations, json!({"email": "eve@example.org"}))
        .await
        .refused(403);
    bob.call(Method::DELETE, "/v1/orgs/team", Value::Null)
        .await
        .refused(403);
    let member = "/v1/orgs/team/members/bob@example.org";
    bob.call(Method::PUT, member, json!({"role": "admin"}))
        .await
        .refused(403);
    let made = bob
        .post(
            "/v1/orgs/team/tokens",
            json!({"profile": "deploy_organization"}),
        )
        .await
        .expect(201);
    let bobs = Holder {
        stage: &stage,
        authorization: made["token"].as_str().unwrap().to_owned(),
    };
    bobs.get("/v1/apps/teams").await.expect(200);

    stage
        .put(member, json!({"role": "admin"}))
        .await
        .expect(200);
    let team = bob.get("/v1/orgs/team").await.expect(200);
    assert_eq!(team["viewer_role"], "admin");
    bob.post(invitations, json!({"email": "eve@example.org"}))
        .await
        .expect(201);
    // But not a token of his: it was made for what members do.
    bobs.post(invitations, json!({"email": "eve@example.org"}))
        .await
        .refused(403);

    stage.delete(member).await.expect(200);
    bob.get("/v1/orgs/team").await.refused(404);
    bobs.get("/v1/apps/teams").await.refused(401);
    stage.delete(member).await.refused(404);
    stage
        .delete("/v1/orgs/team/members/admin@test.localhost")
        .await
        .refused(409);

    stage.delete("/v1/orgs/team").await.refused(409);
    stage.delete("/v1/apps/teams").await.expect(202);
    stage
        .delete("/v1/orgs/team/invitations/eve@example.org")
        .await
        .expect(200);
    stage.delete("/v1/orgs/team").await.expect(200);
    stage.get("/v1/orgs/team").await.refused(404);
    stage.delete("/v1/orgs/personal").await.refused(422);
}

#[tokio::test]
async fn the_audit_names_who_did_what_newest_first() {
    let stage = Stage::set().await;
    let (machine, _) = stage.machine(sleeper()).await;
    stage
        .post(&format!("{machine}/stop"), json!({}))
        .await
        .expect(200);
    let audit = "/v1/orgs/personal/audit";
    let read = async |query: &str| stage.get(&format!("{audit}{query}")).await.expect(200);
    let kinds = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = read("").await;
    let entries = all["entries"].as_array().unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| entry["actor_name"] == "admin@test.localhost"),
        "{all}"
    );
    assert!(kinds(&all).contains(&"app.create".to_owned()), "{all}");
    let seqs: Vec<_> = entries
        .iter()
        .map(|entry| entry["seq"].as_i64().unwrap())
        .collect();
    assert!(seqs.is_sorted_by(|newer, older| newer > older), "{seqs:?}");

    let first = read("?limit=1").await;
    let before = first["next_before"].as_i64().unwrap();
    let second = read(&format!("?limit=1&before={before}")).await;
    assert_eq!(second["entries"][0], all["entries"][1]);
    assert_eq!(kinds(&read("?kind=app.create").await), ["app.create"]);
    assert_eq!(kinds(&read("?kind=app%25").await), [""; 0]);
    assert_eq!(
        kinds(&read("?actor=admin@test.localhost").await),
        kinds(&all)
    );
    assert_eq!(kinds(&read("?since=2100-01-01T00:00:00Z").await), [""; 0]);
    assert!(
        kinds(&read("?all=true&app=stage").await).len() > kinds(&read("?app=stage").await).len()
    );
    stage
        .get(&format!("{audit}?actor=nobody@x"))
        .await
        .refused(404);
    let ci = token(
        &stage,
        "personal",
        json!({"profile": "deploy", "app": "stage"}),
    )
    .await;
    ci.get(audit).await.refused(403);
    ci.get(&format!("{audit}?app=stage")).await.expect(200);
}

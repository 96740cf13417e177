//! `ips`: an app's addresses.

use serde_json::json;

use crate::runner::User;
use crate::sample;
use crate::server::Server;

const IPS: &str = "/v1/apps/web/ip_assignments";

fn cloud() -> Server {
    let server = Server::start();
    let at = "2026-11-21T08:00:00Z";
    server.says(&format!("GET {IPS}"), 200, json!({ "ips": [
        { "ip": "fd6d:6179:1::7", "type": "v6", "region": "global", "shared": false, "created_at": at },
        { "ip": "127.0.0.1", "type": "shared_v4", "region": "global", "shared": true, "created_at": at },
        { "ip": "127.80.0.9", "type": "v4", "region": "fra", "shared": false, "created_at": at },
        { "ip": "fdaa:0:1:0:1::2", "type": "private_v6", "region": "global", "shared": false,
          "created_at": at, "network": { "name": "default", "org_slug": "personal" } },
    ] }));
    server
}

#[test]
fn addresses_are_listed_with_upstreams_words() {
    let server = cloud();
    let user = User::of(&server).with("FLY_APP", "web");
    let shown = user.run("ips list");
    for row in [
        "v6│fd6d:6179:1::7│public (dedicated)│global",
        "v4│127.0.0.1│public (shared)│global",
        "v4│127.80.0.9│public (dedicated)│fra",
        "v6│fdaa:0:1:0:1::2│private│global",
    ] {
        let cells: Vec<&str> = row.split('│').collect();
        let found = shown.ok().lines().find(|line| line.contains(cells[1]));
        let line = found.unwrap_or_else(|| panic!("{row} in {shown:?}"));
        assert!(
            cells.iter().all(|cell| line.contains(cell)),
            "{row}: {line}"
        );
    }
    let listed = user.run("ips ls --json").json();
    assert_eq!(listed[2]["Address"], "127.80.0.9");
    assert_eq!(listed[3]["Network"]["Organization"]["Slug"], "personal");
    assert_eq!(listed[1]["Type"], "shared_v4");
}

#[test]
fn addresses_are_asked_for_by_type() {
    let server = cloud();
    let made = json!({ "ip": "127.80.0.9", "type": "v4", "region": "global" });
    server.says(&format!("POST {IPS}"), 200, made);
    let user = User::of(&server).with("FLY_APP", "web");
    for (line, body) in [
        ("ips allocate-v4 -y", json!({ "type": "v4" })),
        (
            "ips allocate-v4 --region fra -y",
            json!({ "type": "v4", "region": "fra" }),
        ),
        ("ips allocate-v4 --shared", json!({ "type": "shared_v4" })),
        ("ips allocate-v6", json!({ "type": "v6" })),
        (
            "ips allocate-v6 --private --network own -o team",
            json!({ "type": "private_v6", "network": "own", "org_slug": "team" }),
        ),
    ] {
        user.run(line).ok();
        let asked = server.asked_for(&format!("POST {IPS}"));
        assert_eq!(asked.last().unwrap().json(), body, "{line}");
    }
    let before = server.asked_for(&format!("POST {IPS}")).len();
    assert!(user.run("ips allocate").ok().contains("already"));
    assert_eq!(server.asked_for(&format!("POST {IPS}")).len(), before);
    let refused = user.run("ips allocate-v6 --network own");
    assert!(refused.stderr.contains("--private"), "{refused:?}");
}

#[test]
fn addresses_are_released_one_by_one() {
    let server = cloud();
    server.says(&format!("DELETE {IPS}/127.80.0.9"), 204, json!(null));
    let user = User::of(&server);
    let said = user.run("ips release 127.80.0.9 -a web");
    assert!(said.ok().contains("Released 127.80.0.9 from web"));
}

#[test]
fn private_addresses_are_those_of_machines() {
    let server = cloud();
    server.says("GET /v1/apps/web/machines", 200, json!([sample::machine()]));
    let user = User::of(&server);
    let listed = user.run("ips private -a web --json").json();
    assert_eq!(listed[0]["ID"], sample::ID);
    assert!(user.run("ips private -a web").ok().contains(sample::ID));
}

#[test]
fn addresses_to_leave_by_come_in_pairs() {
    let server = cloud();
    let pair = json!({ "ip_pair": {
        "v4": { "ip": "198.51.100.9", "type": "egress_v4", "region": "fra", "egress": true },
        "v6": { "ip": "2001:db8::9", "type": "egress_v6", "region": "fra", "egress": true },
    } });
    server.says(&format!("POST {IPS}"), 200, pair);
    let user = User::of(&server).with("FLY_APP", "web");
    let made = user.run("ips allocate-egress -r fra -y");
    for ip in ["198.51.100.9", "2001:db8::9"] {
        let line = made.ok().lines().find(|line| line.contains(ip));
        let line = line.unwrap_or_else(|| panic!("{ip} in {made:?}"));
        assert!(line.contains("egress") && line.contains("fra"), "{line}");
    }
    let asked = server.asked_for(&format!("POST {IPS}"));
    let body = json!({ "type": "egress_pair", "region": "fra" });
    assert_eq!(asked.last().unwrap().json(), body);
    // What leads to the app is not released by the wrong word.
    let kept = user.run("ips release-egress 127.80.0.9");
    assert!(kept.stderr.contains("ips release"), "{kept:?}");
    assert!(user.run("ips allocate-egress").stderr.contains("--region"));
}

//! `network-policies`: rules from flags and files.

use serde_json::json;

use crate::runner::User;
use crate::server::Server;

const POLICIES: &str = "/v1/apps/web/network_policies";

#[test]
fn flags_become_a_policy_and_are_shown_again() {
    let server = Server::start();
    let made = json!({
        "id": "p1", "name": "some", "selector": { "metadata": { "role": "web" } },
        "rules": [{
            "action": "allow", "direction": "egress", "cidrs": ["10.0.0.0/8"],
            "ports": [{ "protocol": "tcp", "port": 443 }, { "protocol": "udp", "port": 1, "end_port": 9 }],
        }],
    });
    server.says(&format!("POST {POLICIES}"), 201, made.clone());
    server.says(&format!("GET {POLICIES}"), 200, json!([made]));
    server.says(&format!("DELETE {POLICIES}/p1"), 204, json!(null));
    let user = User::of(&server).with("FLY_APP", "web");
    user.run(
        "network-policies create --name some -d egress --port tcp/443 --port udp/1-9 --cidr 10.0.0.0/8 \
         --metadata role=web",
    )
    .ok();
    let asked = server.asked_for(&format!("POST {POLICIES}"));
    let mut body = made.clone();
    body.as_object_mut().unwrap().remove("id");
    assert_eq!(asked.last().unwrap().json(), body);
    let listed = user.run("network-policies list");
    for part in [
        "p1",
        "role=web",
        "allow egress tcp/443 udp/1-9 to 10.0.0.0/8",
    ] {
        assert!(listed.ok().contains(part), "{part} in {listed:?}");
    }
    assert_eq!(user.run("network-policies ls --json").json(), json!([made]));
    let deleted = user.run("network-policies delete p1");
    assert!(deleted.ok().contains("Deleted network policy p1"));
    for (line, named) in [
        ("network-policies create --name x", "--direction"),
        ("network-policies create --name x -d out", "ingress"),
        (
            "network-policies create --name x -d egress --port tcp/x",
            "tcp/443",
        ),
        (
            "network-policies create --name x -d egress --metadata role",
            "role=web",
        ),
        (
            "network-policies create --file nowhere.json",
            "nowhere.json",
        ),
    ] {
        let refused = user.run(line);
        // 2 where the command line itself is wrong.
        assert!(matches!(refused.code, Some(1 | 2)), "{line}: {refused:?}");
        assert!(refused.stderr.contains(named), "{line}: {refused:?}");
    }
}

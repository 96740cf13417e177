//! An app goes to another organization, with copies of its machines in the network there.

use std::collections::BTreeSet;

use mayfly_conformance::Stage;
use mayfly_testing::wait_until;
use serde_json::{Value, json};

use super::{CHECKED, Shop, id};

/// A shop with a second organization, `staging`.
fn shop() -> Shop {
    let shop = Shop::open();
    let org = json!({"name": "Staging", "slug": "staging"});
    shop.stage.cloud.post("/v1/orgs", org).ok();
    shop
}

/// Where private addresses of a network begin: `fdaa` and 32 bits.
fn networks(machines: &[Value]) -> BTreeSet<String> {
    let prefix = |machine: &Value| {
        let ip = machine["private_ip"].as_str().unwrap();
        ip.split(':').take(3).collect::<Vec<_>>().join(":")
    };
    machines.iter().map(prefix).collect()
}

fn all(shop: &Shop) -> Vec<Value> {
    let all = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    all.as_array().unwrap().clone()
}

fn owner(shop: &Shop) -> String {
    let app = shop.stage.cloud.get("/v1/apps/stage").expect(200);
    app["organization"]["slug"].as_str().unwrap().to_owned()
}

#[test]
fn an_app_changes_hands_without_a_failed_request() {
    let shop = shop();
    shop.write(&format!("[env]\nCOLOUR = \"red\"\n{CHECKED}"));
    shop.deploy(&[]).ok();
    shop.cli.run(["secrets", "set", "A=b"]).ok();
    shop.cli.run(["ips", "allocate-v6", "--private"]).ok();
    let alone = shop.stage.start(Stage::sleeper());
    shop.stage.act(&alone, "stop", json!({}));
    shop.stage.wait(&alone, "stopped");
    let token = shop.cli.run(["tokens", "create", "deploy"]);
    let token = token.ok().trim().to_owned();
    let home = owner(&shop);
    let before = all(&shop);
    let old = networks(&before);

    for (words, why) in [
        (
            &["--org", "nowhere"][..],
            "organization \"nowhere\" was not found",
        ),
        (&["--org", &home], "is in organization"),
    ] {
        let refused = shop
            .cli
            .run(["apps", "move", "stage", "--yes"].iter().chain(words));
        assert!(refused.refused().contains(why), "{refused:?}");
    }
    let unasked = shop.cli.run(["apps", "move", "stage", "--org", "staging"]);
    assert!(unasked.refused().contains("--yes"), "{unasked:?}");
    assert_eq!(owner(&shop), home);

    let visits = shop.visited_during(|| {
        let moved = shop
            .cli
            .run(["apps", "move", "stage", "--org", "staging", "--yes"]);
        assert!(
            moved
                .ok()
                .contains("Move to organization staging is release v3"),
            "{moved:?}"
        );
    });
    assert!(visits > 20, "{visits}");
    assert_eq!(owner(&shop), "staging");
    let after = all(&shop);
    assert_eq!(after.len(), 3, "{after:?}");
    let new = networks(&after);
    assert_eq!(new.len(), 1, "{after:?}");
    assert!(new.is_disjoint(&old), "{new:?} {old:?}");
    for machine in shop.machines("app") {
        assert_eq!(machine["state"], "started");
        assert_ne!(machine["cordoned"], true);
        assert_eq!(shop.env(id(&machine), "COLOUR$A"), "redb");
    }
    // What rested rests, and is no deployment's.
    let rests: Vec<&Value> = after
        .iter()
        .filter(|machine| machine["state"] != "started")
        .collect();
    assert_eq!(rests.len(), 1, "{after:?}");
    assert!(rests[0]["config"]["metadata"]["fly_platform_version"].is_null());
    shop.stage.act(id(rests[0]), "start", json!({}));
    shop.stage.wait(id(rests[0]), "started");
    let addresses = shop.cli.run(["ips", "list", "--json"]);
    let prefix = new.first().unwrap();
    assert!(addresses.ok().contains(prefix.as_str()), "{addresses:?}");
    let stranger = shop.cli.run(["--access-token", &token, "status"]);
    assert!(!stranger.refused().is_empty(), "{stranger:?}");
    // The next deployment changes the copies where they are.
    shop.write(&format!("[env]\nCOLOUR = \"blue\"\n{CHECKED}"));
    shop.deploy(&[]).ok();
    let told = shop.machines("app");
    assert!(
        told.iter()
            .all(|machine| shop.env(id(machine), "COLOUR") == "blue")
    );
    assert_eq!(networks(&told), new);
}

#[test]
fn a_move_that_fails_leaves_everything_where_it_is() {
    let shop = shop();
    shop.write(CHECKED);
    shop.deploy(&["--ha=false"]).ok();
    let home = owner(&shop);
    let here = networks(&all(&shop));
    // It ends in any network but this.
    let here = here.first().unwrap();
    let script = format!("case $FLY_PRIVATE_IP in {here}:*) exec /bin/start;; *) exit 3;; esac");
    shop.write(&format!(
        "{CHECKED}[experimental]\nexec = [\"/bin/sh\", \"-c\", \"{script}\"]\n"
    ));
    shop.deploy(&[]).ok();
    let before = all(&shop);
    let moved = shop
        .cli
        .run(["apps", "move", "stage", "--org", "staging", "--yes"]);
    assert!(moved.refused().contains("exit code 3"), "{moved:?}");
    assert_eq!(owner(&shop), home);
    wait_until("only the old machine is there", || {
        let after = all(&shop);
        after.iter().map(id).eq(before.iter().map(id))
    });
    assert_eq!(shop.stage.cloud.visit("stage", "/").unwrap().status, 200);
}

#[test]
fn a_move_survives_the_daemon() {
    let mut shop = shop();
    shop.write(CHECKED);
    shop.deploy(&[]).ok();
    let old = networks(&all(&shop));
    for org in ["staging", "personal"] {
        let line = ["apps", "move", "stage", "--org", org, "--yes", "--json"];
        let version = shop.cli.run(line).json()["version"].clone();
        let cancel = shop.cli.run(["deploy", "cancel"]);
        assert!(cancel.refused().contains("moves the app"), "{cancel:?}");
        shop.stage.cloud.crash_and_restart();
        wait_until("the move is at its end", || {
            shop.newest()["finished_at"].is_string()
        });
        let newest = shop.newest();
        assert_eq!(newest["version"], version);
        assert_eq!(newest["status"], "complete", "{newest}");
        let machines = all(&shop);
        assert_eq!(machines.len(), 2);
        assert_eq!(networks(&machines) == old, org == "personal");
    }
}

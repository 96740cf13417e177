//! What is printed for what the cloud says.

use serde_json::json;

use crate::runner::{User, assert_golden};
use crate::sample::{self, ID};
use crate::server::Server;

fn cloud() -> Server {
    let server = Server::start();
    server
        .says("GET /v1/apps?", 200, json!({ "apps": [sample::app()] }))
        .says(
            "GET /v1/apps",
            200,
            json!({ "total_apps": 1, "apps": [sample::app()] }),
        )
        .says("GET /v1/apps/web", 200, sample::app())
        .says("GET /v1/apps/web/autoscale", 200, json!([]))
        .says(
            "GET /v1/apps/web/machines",
            200,
            json!([sample::machine(), sample::standby()]),
        )
        .says(
            &format!("GET /v1/apps/web/machines/{ID}"),
            200,
            sample::machine(),
        );
    server
}

#[test]
fn machine_list() {
    let server = cloud();
    let user = User::of(&server).with("FLY_APP", "web");
    assert_golden("machine_list.txt", user.run("machine list").ok());
    assert_eq!(
        user.run("m list -q").ok(),
        format!("{ID}\n90801d5b1e7987\n")
    );
    assert_eq!(
        user.run("machines list --json").json(),
        json!([sample::machine(), sample::standby()])
    );
    user.run("machine list --all").ok();
    assert_eq!(
        server
            .asked_for("GET /v1/apps/web/machines?include_deleted=true")
            .len(),
        1
    );
}

#[test]
fn machine_status() {
    let server = cloud();
    let user = User::of(&server);
    assert_golden(
        "machine_status.txt",
        user.run(&format!("machine status {ID} -a web")).ok(),
    );
    let config = user
        .run("machine status still-pond-1 -a web --display-config")
        .json();
    assert_eq!(config, sample::machine()["config"]);
    let checks = user.run(&format!("machine status {ID} -a web --display-checks"));
    assert!(checks.ok().starts_with("Checks [1/2]\n"), "{checks:?}");
    // Without an app the machine is looked for in all of them.
    assert_eq!(
        user.run(&format!("m status {ID} --json")).json(),
        sample::machine()
    );
}

#[test]
fn checks_list() {
    let server = cloud();
    let user = User::of(&server).with("FLY_APP", "web");
    assert_golden("checks_list.txt", user.run("checks list").ok());
    let one = user.run("checks list --check-name disk");
    assert!(one.ok().contains("critical") && !one.stdout.contains("passing"));
    assert_eq!(
        user.run("checks list --json").json(),
        json!({ ID: sample::machine()["checks"] })
    );
    let none = user.run("checks list --check-name nothing");
    assert!(none.ok().contains("no health checks called nothing"));
}

#[test]
fn app_status() {
    let server = cloud();
    let user = User::of(&server);
    assert_golden("status.txt", user.run("status -a web").ok());
    let status = user.run("status -a web --json").json();
    let keys: Vec<&str> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "ID",
            "Name",
            "Deployed",
            "Status",
            "Hostname",
            "Version",
            "AppURL",
            "Organization",
            "PlatformVersion",
            "Machines"
        ]
    );
    assert_eq!(
        (&status["Version"], &status["Status"]),
        (&json!(4), &json!("deployed"))
    );
    assert_eq!(status["Machines"][1]["id"], "90801d5b1e7987");
    assert_eq!(status["Organization"]["Slug"], "personal");
}

#[test]
fn the_cloud_s_own_status_without_an_app() {
    let server = Server::start();
    server.says(
        "GET /v1/status",
        200,
        json!({
            "version": "0.1.0", "apps": 1, "machines": 3,
            "host": { "host_id": "h1", "region": "iad", "machines": 3, "running": 2, "cgroups": "v2",
                "memory_mib": 2048, "cpus": 2 },
            "gateways": [{ "region": "iad", "endpoint": "192.0.2.1", "port": 51820, "wireguard": "kernel" }],
            "loops": { "pump": { "ran_at": "2026-11-21T08:00:00Z", "waiting": 0, "last_error": null } },
        }),
    );
    let user = User::of(&server);
    let status = user.run("status");
    for part in ["0.1.0", "3 (2 running)", "2048 MB", "kernel", "pump"] {
        assert!(status.ok().contains(part), "{part}: {status:?}");
    }
    assert_eq!(user.run("status --json").json()["apps"], 1);
}

#[test]
fn apps_and_info() {
    let server = cloud();
    let user = User::of(&server);
    assert_golden("apps_list.txt", user.run("apps list").ok());
    assert_eq!(user.run("apps list -q").ok(), "web\n");
    assert_eq!(user.run("apps list --json").json()[0]["Name"], "web");
    user.run("apps list --org staging").ok();
    assert_eq!(server.asked_for("GET /v1/apps?org_slug=staging").len(), 1);
    assert_golden("info.txt", user.run("info -a web").ok());
}

#[test]
fn orgs() {
    let server = Server::start();
    let org = json!({ "id": "1", "slug": "personal", "name": "Personal", "type": "PERSONAL" });
    server
        .says("GET /v1/orgs", 200, json!({ "organizations": [org] }))
        .says("GET /v1/orgs/personal", 200, &org)
        .says(
            "POST /v1/orgs",
            201,
            json!({ "slug": "staging", "name": "Staging" }),
        );
    let user = User::of(&server);
    assert!(
        user.run("orgs list")
            .ok()
            .contains(" Personal │ personal │ PERSONAL\n")
    );
    assert_eq!(
        user.run("orgs list --json").json(),
        json!({ "personal": "Personal" })
    );
    assert!(user.run("orgs show").ok().contains("Slug = personal"));
    assert!(
        user.run("orgs create Staging")
            .ok()
            .contains("Staging (staging)")
    );
    assert_eq!(
        server.asked_for("POST /v1/orgs")[0].json(),
        json!({ "name": "Staging" })
    );
}

#[test]
fn platform() {
    let server = Server::start();
    let region = |code: &str, name: &str, deprecated: bool| json!({ "code": code, "name": name, "deprecated": deprecated, "gateway_available": true, "capacity": 7 });
    let regions = [
        region("iad", "Ashburn", false),
        region("ams", "Amsterdam", false),
        region("mad", "Madrid", true),
    ];
    server.says(
        "GET /v1/platform/regions",
        200,
        json!({ "Regions": regions, "Nearest": "iad" }),
    );
    let user = User::of(&server);
    let codes: Vec<_> = user
        .run("platform regions --json")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|region| region["code"].clone())
        .collect();
    assert_eq!(codes, ["ams", "iad"]);
    assert!(
        user.run("platform regions")
            .ok()
            .contains(" Ashburn   │ iad  │ ✓       │ 7\n")
    );
    // The sizes are known without a cloud, and without a token.
    let stranger = User::stranger();
    assert_golden("vm_sizes.txt", stranger.run("platform vm-sizes").ok());
    assert_eq!(
        stranger.run("platform vm-sizes --json").json()["performance-2x"],
        json!({ "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096 })
    );
}

#[test]
fn leases_schedule_and_placement() {
    let server = cloud();
    let lease = json!({ "status": "success",
        "data": { "nonce": "n0nce", "owner": "a@b.c", "expires_at": 1_763_712_000_i64 } });
    server
        .says(&format!("GET /v1/apps/web/machines/{ID}/lease"), 200, &lease)
        .says("GET /v1/apps/web/machines/90801d5b1e7987/lease", 404, json!({ "error": "lease not found" }))
        .says(&format!("DELETE /v1/apps/web/machines/{ID}/lease"), 200, "")
        .says(
            &format!("GET /v1/apps/web/machines/{ID}/schedule"),
            200,
            json!({ "schedule": "hourly", "next_at": "2026-11-21T09:00:00Z",
                "runs": [{ "due_at": "2026-11-21T08:00:00Z", "exit_code": 0, "outcome": "exited" }] }),
        )
        .says("POST /v1/platform/placements", 200, json!({ "Regions": [{ "Region": "iad", "Count": 3 }] }));
    let user = User::of(&server).with("FLY_APP", "web");
    let leases = user.run("machine leases view");
    assert!(
        leases.ok().contains("n0nce") && leases.stdout.contains("2025-11-21T08:00:00"),
        "{leases:?}"
    );
    assert_eq!(user.run("m lease list --json").json(), json!({ ID: lease }));
    user.run("machine leases clear").ok();
    assert_eq!(server.asked_for("DELETE").len(), 1);
    let schedule = user.run(&format!("machine schedule {ID}"));
    assert!(
        schedule.ok().contains("hourly") && schedule.stdout.contains("exited"),
        "{schedule:?}"
    );
    let places = user.run("machine place --count 3 --weights region=5 --vm-size shared-cpu-2x");
    assert!(places.ok().contains(" iad    │ 3\n"), "{places:?}");
    let asked = server.asked_for("POST /v1/platform/placements")[0].json();
    assert_eq!(asked["weights"], json!({ "region": 5 }));
    assert_eq!(asked["compute"]["cpus"], 2);
}

//! Private addresses of apps: services for one network, woken by its requests, and for nobody else.

use std::net::SocketAddr;

use mayfly_conformance::Stage;
use mayfly_testing::{Method, send, wait_until};
use serde_json::{Value, json};

/// A server that tells its clients who they are.
fn serving() -> Value {
    json!({
        "image": "probe:latest",
        "init": {"exec": ["/bin/netprobe", "mirror", "8080"]},
        "services": [{
            "protocol": "tcp",
            "internal_port": 8080,
            "autostart": true,
            "ports": [{"port": 80, "handlers": ["http"]}],
        }],
    })
}

fn asker() -> Value {
    json!({"image": "probe:latest", "init": {"exec": ["/bin/sleep", "inf"]}})
}

/// The answer to a GET from inside a machine; `None` if there is none.
fn get(stage: &Stage, machine: &str, address: &str) -> Option<String> {
    let body = json!({
        "command": ["/bin/netprobe", "ask", address, "GET", "/"],
        "timeout": 30,
    });
    let answer = stage.act(machine, "exec", body);
    let output = answer["stdout"].as_str().unwrap_or_default();
    output.strip_prefix("200\n").map(str::to_owned)
}

fn allocate(stage: &Stage, app: &str, more: &[&str]) -> String {
    let mut line = vec!["ips", "allocate-v6", "--private", "--app", app];
    line.extend(more);
    let cli = stage.cloud.cli();
    let before = addresses(stage, app);
    cli.run(line).ok();
    let mut made = addresses(stage, app);
    made.retain(|ip| !before.contains(ip));
    made.pop().unwrap()
}

fn addresses(stage: &Stage, app: &str) -> Vec<String> {
    let path = format!("/v1/apps/{app}/ip_assignments");
    let listed = stage.cloud.get(&path).expect(200);
    let ips = listed["ips"].as_array().unwrap().iter();
    ips.map(|ip| ip["ip"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_app_is_reached_and_woken_by_its_private_address_and_from_nowhere_else() {
    let mut stage = Stage::set();
    stage.import_probe();
    for (name, network) in [("web", "default"), ("tenant", "tenant-7")] {
        let app = json!({"app_name": name, "org_slug": "personal", "network": network});
        stage.cloud.post("/v1/apps", app).expect(201);
    }
    let friend = stage.start(asker());
    stage.app = "tenant".to_owned();
    let stranger = stage.start(asker());
    stage.app = "web".to_owned();
    let server = stage.start(serving());
    let own = allocate(&stage, "web", &[]);
    let ask = |stage: &mut Stage, app: &str, machine: &str, address: &str| {
        stage.app = app.to_owned();
        let answer = get(stage, machine, address);
        stage.app = "web".to_owned();
        answer
    };
    let friend_ip = {
        stage.app = "stage".to_owned();
        let ip = stage.get(&friend)["private_ip"]
            .as_str()
            .unwrap()
            .to_owned();
        stage.app = "web".to_owned();
        ip.parse::<std::net::Ipv6Addr>().unwrap()
    };
    wait_until("the app answers by name", || {
        ask(&mut stage, "stage", &friend, "web.flycast:80").is_some()
    });
    let seen = ask(&mut stage, "stage", &friend, "web.flycast:80").unwrap();
    assert_eq!(
        seen.trim(),
        friend_ip.to_string(),
        "the client as the app sees it"
    );
    assert!(ask(&mut stage, "tenant", &stranger, "web.flycast:80").is_none());
    assert!(ask(&mut stage, "tenant", &stranger, &format!("[{own}]:80")).is_none());

    // Asleep, it is woken.
    stage.act(&server, "stop", json!({}));
    stage.wait(&server, "stopped");
    wait_until("a request wakes it", || {
        ask(&mut stage, "stage", &friend, "web.flycast:80").is_some()
    });
    stage.wait(&server, "started");

    // A program of the server itself reaches it; the mesh's own tests show that nobody beyond does.
    let web: SocketAddr = format!("[{own}]:80").parse().unwrap();
    send(web, Method::Get, "/", &[("host", "web.flycast")], b"")
        .unwrap()
        .ok();

    // Given to another network, it is reached from there, and by that address from there only.
    let other = allocate(&stage, "web", &["--network", "tenant-7"]);
    wait_until("the other network reaches it", || {
        ask(&mut stage, "tenant", &stranger, "web.flycast:80").is_some()
    });
    let address: SocketAddr = format!("[{other}]:80").parse().unwrap();
    assert!(ask(&mut stage, "stage", &friend, &address.to_string()).is_none());
    assert!(ask(&mut stage, "tenant", &stranger, &address.to_string()).is_some());
    // Its machines stay out of reach.
    assert!(ask(&mut stage, "tenant", &stranger, "web.internal:8080").is_none());
    stage
        .cloud
        .cli()
        .run(["ips", "release", &other, "--app", "web"])
        .ok();
    wait_until("released, it leads nowhere", || {
        ask(&mut stage, "tenant", &stranger, &address.to_string()).is_none()
    });
}

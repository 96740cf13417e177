//! Addresses of apps: this host answers for them, and machines reach those of their own network.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;

use mayfly_conformance::Stage;
use mayfly_testing::{binaries, wait_until};
use serde_json::{Value, json};

fn allocate(stage: &Stage, app: &str, kind: &str) -> IpAddr {
    let path = format!("/v1/apps/{app}/ip_assignments");
    let made: Value = stage.cloud.post(&path, json!({ "type": kind })).expect(200);
    made["ip"].as_str().unwrap().parse().unwrap()
}

fn can_listen(ip: IpAddr) -> bool {
    TcpListener::bind((ip, 0)).is_ok()
}

/// A listener that ends every connection at once, since the machine's `nc` waits for the other side.
fn listen(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address
}

/// Whether a machine can connect.
fn reaches(stage: &Stage, machine: &str, address: SocketAddr) -> bool {
    let line = format!("nc -w 2 {} {} </dev/null", address.ip(), address.port());
    stage.exec(machine, &line).code == 0
}

#[test]
fn the_host_answers_for_what_it_gives_out_until_it_halts() {
    let mut stage = Stage::set();
    let ips = ["v4", "v6", "private_v6"].map(|kind| allocate(&stage, "stage", kind));
    for ip in ips {
        wait_until("the host answers for it", || can_listen(ip));
    }
    let cli = stage.cloud.cli();
    let listed = cli.run(["ips", "list", "--app", "stage"]);
    for ip in ips {
        assert!(listed.ok().contains(&ip.to_string()), "{listed:?}");
    }
    cli.run(["ips", "release", &ips[2].to_string(), "--app", "stage"])
        .ok();
    wait_until("a released private address leads nowhere", || {
        !can_listen(ips[2])
    });
    stage.cloud.crash_and_restart();
    // What was allocated a moment before the crash is read from the store again.
    wait_until("the host answers for it again", || can_listen(ips[1]));
    stage.cloud.stop_daemon();
    let halted = Command::new(binaries().join("mayflyd"))
        .args(["halt", "--data-dir"])
        .arg(stage.cloud.data_dir())
        .output()
        .unwrap();
    assert!(halted.status.success(), "{halted:?}");
    assert!(!can_listen(ips[1]), "the route stays after a halt");
}

#[test]
fn a_private_address_is_reached_by_its_network_and_opens_nothing_else() {
    let stage = Stage::set();
    let inside = stage.start(Stage::sleeper());
    let ip = allocate(&stage, "stage", "private_v6");
    wait_until("the host answers for it", || can_listen(ip));
    let own = listen(ip);
    assert!(reaches(&stage, &inside, own));
    // A service of the host that listens on all addresses is none of the app's.
    let everywhere = listen(Ipv6Addr::UNSPECIFIED.into());
    assert!(!reaches(
        &stage,
        &inside,
        SocketAddr::new(ip, everywhere.port())
    ));
    // Machines of another network do not reach it.
    let other = json!({"app_name": "other", "org_slug": "personal", "network": "own"});
    stage.cloud.post("/v1/apps", other).expect(201);
    let outside = Stage {
        cloud: stage.cloud,
        app: "other".to_owned(),
    };
    let stranger = outside.start(Stage::sleeper());
    assert!(!reaches(&outside, &stranger, own));
}

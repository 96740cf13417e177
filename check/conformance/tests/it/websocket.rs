//! Autobahn's cases, by the suite that `./dev setup` installs, against a machine behind the edge: what the machine's
//! server passes by itself it has to pass through the edge.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use mayfly_conformance::{Stage, WebSocket, tool};
use mayfly_testing::wait_until;
use serde_json::{Value, json};

/// All cases of framing, pings, fragments, UTF-8, closing and limits; of the long-running ones, the largest messages
/// and one of each kind of compression.
const CASES: [&str; 16] = [
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "9.1.6", "9.2.6", "9.4.3", "12.1.5",
    "12.3.8", "13.1.3", "13.4.6", "13.7.2",
];

/// Verdicts that are no failure.
const FINE: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

fn run_cases(server: SocketAddr) {
    let reports = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("websocket-suite/bin/kosoku"));
    command.args(["-p", "8", "-o"]).arg(reports.path());
    for case in CASES {
        command.args(["-i", case]);
    }
    let output = command.arg(format!("ws://{server}/")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut judged = 0;
    let mut failed = Vec::new();
    for entry in fs::read_dir(reports.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let Some(verdict) = report["behavior"].as_str() else {
            continue;
        };
        judged += 1;
        if !FINE.contains(&verdict) {
            failed.push(format!("{}: {verdict}", report["id"]));
        }
    }
    assert!(failed.is_empty(), "{failed:?}\n{text}");
    assert!(
        output.status.success() && judged > 240,
        "{judged} cases\n{text}"
    );
}

/// An address of the app's own, since the suite knows no host names.
fn address(stage: &Stage) -> SocketAddr {
    let path = format!("/v1/apps/{}/ip_assignments", stage.app);
    let made = stage.cloud.post(&path, json!({"type": "v4"})).expect(200);
    let address = format!("{}:80", made["ip"].as_str().unwrap());
    let address: SocketAddr = address.parse().unwrap();
    wait_until("the address is served", || {
        let app = format!("{}.mayfly.localhost", stage.app);
        mayfly_testing::send(
            address,
            mayfly_testing::Method::Get,
            "/",
            &[("host", &app)],
            b"",
        )
        .is_ok_and(|answer| answer.status == 200)
    });
    address
}

#[test]
fn websockets_pass_through_unharmed() {
    let mut stage = Stage::set();
    stage.import_echo();
    stage.start(Stage::echo(json!({})));
    run_cases(address(&stage));
    // A service that speaks HTTP/2 otherwise: WebSockets come to it over HTTP/1.1.
    stage.create_app("second", "personal");
    stage.app = "second".to_owned();
    let ports = json!([{"port": 80, "handlers": ["http"], "http_options": {"h2_backend": true}}]);
    let id = stage.start(Stage::echo(json!({"ports": ports})));
    wait_until("it answers", || {
        let answer = stage.cloud.visit(&stage.app, "/").unwrap();
        answer.status == 200 && answer.json()["protocol"] == "HTTP/2.0"
    });
    let mut socket = WebSocket::open(stage.cloud.edge(), &stage.app, "/ws", &[]);
    assert_eq!(socket.ask("who"), format!("{id} "));
    // A replayed handshake is opened by the machine it is replayed to.
    let order = [("x-order", "elsewhere=true")];
    let ports = json!([{"port": 80, "handlers": ["http"]}]);
    let other = stage.start(Stage::echo(json!({"ports": ports})));
    wait_until("replays reach another machine", || {
        let host = format!("{}.mayfly.localhost", stage.app);
        let fields = [
            ("host", host.as_str()),
            ("fly-force-instance-id", &id),
            order[0],
        ];
        mayfly_testing::send(
            stage.cloud.edge(),
            mayfly_testing::Method::Get,
            "/",
            &fields,
            b"",
        )
        .is_ok_and(|answer| answer.json()["machine"] == other.as_str())
    });
    let fields = [("fly-force-instance-id", id.as_str()), order[0]];
    let mut socket = WebSocket::open(stage.cloud.edge(), &stage.app, "/", &fields);
    assert_eq!(socket.ask("who"), format!("{other} "));
}

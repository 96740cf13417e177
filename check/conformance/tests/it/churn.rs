//! Load on an app whose machines come and go: what a proxy can save is saved.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mayfly_conformance::{Stage, WebSocket};
use mayfly_testing::{CloudOptions, wait_until};
use serde_json::{Value, json};

/// How long the load lasts, in seconds.
const LOAD_S: u32 = 20;

fn config(mark: u32) -> Value {
    let mut config = Stage::echo(json!({
        "checks": [{"type": "http", "path": "/", "interval": "1s", "timeout": "1s"}],
    }));
    config["env"] = json!({ "MARK": mark.to_string() });
    config["stop_config"] = json!({"signal": "SIGTERM", "timeout": "10s"});
    config
}

fn answers(stage: &Stage, id: &str, mark: u32) -> bool {
    let forced = Stage::ask(
        stage.cloud.edge(),
        &stage.app,
        "/",
        &[("fly-force-instance-id", id)],
    );
    forced.is_ok_and(|answer| {
        answer.status == 200 && answer.json()["mark"].as_str() == Some(&mark.to_string())
    })
}

/// wrk speaks HTTP/1.1 and h2load HTTP/2; each prints at the end how its requests fared.
fn load(edge: SocketAddr, app: &str) -> [(&'static str, Child); 2] {
    let host = format!("{app}.mayfly.localhost");
    let start = |command: &mut Command| {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("./dev setup installs wrk and h2load")
    };
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c8", "--timeout", "30s"])
        .arg(format!("-d{LOAD_S}s"))
        .args(["-H", &format!("Host: {host}")])
        .arg(format!("http://{edge}/?pause=20ms"));
    let mut h2load = Command::new("h2load");
    h2load
        .args(["-t1", "-c4", "-m4", "--rps=40"])
        .arg(format!("-D{LOAD_S}"))
        .arg(format!("--connect-to={edge}"))
        .arg(format!("http://{host}/?pause=20ms"));
    [("wrk", start(&mut wrk)), ("h2load", start(&mut h2load))]
}

/// How many requests were answered.
///
/// # Panics
/// If one was not, or not with success.
fn fared(name: &str, child: Child) -> u64 {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {text}");
    let count = |line: &str, of: &str| -> u64 {
        let words: Vec<&str> = line.split([' ', ',']).collect();
        let place = words.iter().position(|word| *word == of).unwrap();
        words[place - 1].parse().unwrap()
    };
    if name == "wrk" {
        let bad = text
            .lines()
            .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"));
        assert_eq!(bad, None, "{text}");
        let line = text
            .lines()
            .find(|line| line.contains(" requests in "))
            .unwrap();
        return count(line.trim(), "requests");
    }
    let requests = text
        .lines()
        .find(|line| line.starts_with("requests:"))
        .unwrap();
    let statuses = text
        .lines()
        .find(|line| line.starts_with("status codes:"))
        .unwrap();
    assert!(
        requests.contains(" 0 failed, 0 errored, 0 timeout")
            && statuses.contains(" 0 3xx, 0 4xx, 0 5xx"),
        "{text}"
    );
    count(requests, "succeeded")
}

#[test]
fn no_request_is_lost_while_machines_come_and_go() {
    let stage = Stage::set();
    stage.import_echo();
    let mut ids: Vec<String> = (0..3).map(|_| stage.start(config(0))).collect();
    for id in &ids {
        wait_until("it answers", || answers(&stage, id, 0));
    }
    let mut running = load(stage.cloud.edge(), &stage.app);
    let began = Instant::now();
    let mut mark = 0;
    let over = Duration::from_secs(u64::from(LOAD_S)).saturating_sub(Duration::from_secs(2));
    while began.elapsed() < over {
        mark += 1;
        let turn = ids[mark as usize % 3].clone();
        match mark % 4 {
            0 => {
                stage.act(&turn, "stop", json!({}));
                stage.wait(&turn, "stopped");
                stage.act(&turn, "start", json!({}));
            }
            1 => {
                stage.act(&turn, "signal", json!({"signal": "SIGKILL"}));
                wait_until("it ended", || stage.exits(&turn) > 0);
            }
            2 => {
                // As a rolling deployment replaces machines: one after the other, each when the last one answers.
                for id in &ids {
                    stage
                        .cloud
                        .post(
                            &stage.path(&format!("/{id}")),
                            json!({"config": config(mark)}),
                        )
                        .expect(200);
                    wait_until("the new version answers", || answers(&stage, id, mark));
                }
                continue;
            }
            _ => {
                let new = stage.start(config(mark));
                wait_until("it answers", || answers(&stage, &new, mark));
                stage.destroy(&turn);
                ids.retain(|id| *id != turn);
                ids.push(new);
                continue;
            }
        }
        wait_until("it answers again", || {
            stage.state(&turn) == "started" && {
                let asked = Stage::ask(
                    stage.cloud.edge(),
                    &stage.app,
                    "/",
                    &[("fly-force-instance-id", &turn)],
                );
                asked.is_ok_and(|answer| answer.status == 200)
            }
        });
    }
    assert!(
        running
            .iter_mut()
            .all(|(_, child)| child.try_wait().unwrap().is_none() || began.elapsed() >= over),
        "the load ended before the churn"
    );
    for (name, child) in running {
        let answered = fared(name, child);
        println!("{name}: {answered} requests answered while {mark} machines came or went");
        assert!(answered > 100, "{name}: {answered}");
    }
    assert!(mark >= 3, "only {mark} rounds");
}

#[test]
fn websockets_end_politely_when_their_machine_is_replaced() {
    let stage = Stage::set();
    stage.import_echo();
    let old = stage.start(config(0));
    wait_until("it answers", || answers(&stage, &old, 0));
    let mut socket = WebSocket::open(stage.cloud.edge(), &stage.app, "/ws", &[]);
    assert_eq!(socket.ask("who"), format!("{old} 0"));
    let new = stage.start(config(1));
    wait_until("it answers", || answers(&stage, &new, 1));
    thread::scope(|scope| {
        scope.spawn(|| stage.act(&old, "stop", json!({})));
        // The program says goodbye, the edge passes it on and lets the other side answer.
        assert_eq!(socket.closed(), Some(1001));
    });
    stage.wait(&old, "stopped");
    let mut socket = WebSocket::open(stage.cloud.edge(), &stage.app, "/ws", &[]);
    assert_eq!(socket.ask("who"), format!("{new} 1"));
}

/// A request that takes `pause` and says nothing meanwhile; the status it got.
fn slow(edge: SocketAddr, app: &str, pause: &str) -> Result<u16, String> {
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(edge)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let head = format!(
            "GET /?pause={pause} HTTP/1.1\r\nHost: {app}.mayfly.localhost\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = talk().map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.ok_or(format!("no answer but {answer:?}"))
}

#[test]
fn a_blue_green_deployment_lets_requests_finish() {
    let stage = Stage::set();
    stage.import_echo();
    let cli = stage.cloud.cli();
    let deploy = |mark: &str| {
        let text = format!(
            "app = \"{}\"\nprimary_region = \"iad\"\n[env]\nMARK = \"{mark}\"\n[deploy]\nstrategy = \"bluegreen\"\n\
             [experimental]\nexec = [\"/bin/echo-server\"]\n[http_service]\ninternal_port = 8080\n[[http_service.checks]]\npath = \"/\"\ninterval = \"1s\"\ntimeout = \"1s\"\n",
            stage.app
        );
        std::fs::write(cli.home().join("fly.toml"), text).unwrap();
        cli.run(["deploy", "--image", "echo:latest", "--ha=false"])
            .ok();
    };
    let mark = || -> Option<String> {
        let answer = Stage::ask(stage.cloud.edge(), &stage.app, "/", &[]).ok()?;
        Some(answer.json()["mark"].as_str()?.to_owned())
    };
    deploy("blue");
    wait_until("it answers", || mark().as_deref() == Some("blue"));
    let (edge, app) = (stage.cloud.edge(), stage.app.clone());
    // Longer than new machines take and the old one may, once it is told to end, together.
    let under_way = thread::spawn(move || slow(edge, &app, "11s"));
    wait_until("the request is at the machine", || {
        let asked = Stage::ask(edge, &stage.app, "/", &[]);
        asked.is_ok_and(|answer| answer.json()["busy"] == 2)
    });
    deploy("green");
    assert_eq!(mark().as_deref(), Some("green"));
    assert_eq!(under_way.join().unwrap(), Ok(200));
}

#[test]
fn a_restart_lets_requests_and_websockets_finish() {
    let mut stage = Stage::set_with(CloudOptions {
        hold_sockets: true,
        config: Some("[edge]\ndrain = \"20s\"\n".to_owned()),
        ..CloudOptions::default()
    });
    stage.import_echo();
    let id = stage.start(config(0));
    wait_until("it answers", || answers(&stage, &id, 0));
    let edge = stage.cloud.edge();
    let mut socket = WebSocket::open(edge, &stage.app, "/ws", &[]);
    assert_eq!(socket.ask("who"), format!("{id} 0"));
    let app = stage.app.clone();
    let under_way = thread::spawn(move || slow(edge, &app, "3s"));
    // Beside the one that asks.
    wait_until("the request is at the machine", || {
        let asked = Stage::ask(edge, &stage.app, "/", &[]);
        asked.is_ok_and(|answer| answer.json()["busy"] == 2)
    });
    let talking = thread::spawn(move || {
        // It talks on while the edge drains, and says goodbye itself.
        for _ in 0..10 {
            assert_eq!(socket.ask("still there?"), "still there?");
            thread::sleep(Duration::from_millis(100));
        }
        socket.close();
        socket.closed()
    });
    stage.cloud.stop_daemon();
    assert_eq!(under_way.join().unwrap(), Ok(200));
    assert_eq!(talking.join().unwrap(), Some(1000));
    stage.cloud.start_daemon();
    assert_eq!(stage.cloud.edge(), edge);
    let mut socket = WebSocket::open(edge, &stage.app, "/ws", &[]);
    assert_eq!(socket.ask("who"), format!("{id} 0"));
}

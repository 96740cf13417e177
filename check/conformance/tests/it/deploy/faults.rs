//! Whoever is killed in the middle of a deployment: it ends with one version everywhere, and says truly how.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use mayfly_testing::wait_until;
use serde_json::{Value, json};

use super::{Shop, id, rounds};
use crate::fault_loop::Dice;

/// Rounds of the everyday test; `MAYFLY_DEPLOY_ROUNDS` makes more.
const ROUNDS: usize = 3;
const MACHINES: usize = 6;

/// The image's entrypoint serves, whatever it is given: this one runs what it is given.
const APP: &str = r#"
[processes]
app = "/bin/start"
[http_service]
internal_port = 8080
processes = ["app"]
[experimental]
entrypoint = ["/bin/env"]
[deploy]
release_command = "/bin/sleep 1"
max_unavailable = 0.5
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Client,
    Daemon,
    Command,
}

#[test]
fn one_version_everywhere_whoever_is_killed() {
    let mut shop = Shop::open();
    let mut live = 1;
    write(&shop, 1);
    shop.deploy(&["--skip-release-command"]).ok();
    grow(&shop);
    let seed = 0x5eed_0000 + u64::from(std::process::id());
    let mut dice = Dice(seed | 1);
    let (mut complete, mut failed, mut unasked) = (0, 0, 0);
    for round in 1..=rounds(ROUNDS) {
        let victim = [Victim::Daemon, Victim::Client, Victim::Command][round % 3];
        let told = format!("seed {seed:#x}, round {round}: {victim:?}");
        let before = shop.newest()["version"].as_i64().unwrap();
        write(&shop, before + 1);
        let mut client = start(&shop);
        let pause = Duration::from_millis(dice.roll(4000));
        match victim {
            Victim::Client => {
                thread::sleep(pause);
                client.kill().ok();
            }
            Victim::Daemon => {
                thread::sleep(pause);
                shop.stage.cloud.crash_and_restart();
            }
            Victim::Command => kill_command(&shop, before + 1),
        }
        let status = client.wait().unwrap();
        wait_until("what the client had sent is answered or dropped", || {
            !is_connected(shop.stage.cloud.api())
        });
        // One writer writes in the order of the asking: what was on its way is written before this.
        shop.cli.run(["secrets", "set", "--stage", "MARK=1"]).ok();
        wait_until(&format!("{told} is at its end"), || {
            shop.newest()["finished_at"].is_string()
        });
        let newest = shop.newest();
        match newest["status"].as_str().unwrap() {
            _ if newest["version"] == before => {
                assert!(!status.success(), "{told}");
                unasked += 1;
            }
            "complete" => {
                live = before + 1;
                complete += 1;
            }
            "failed" => {
                assert_eq!(victim, Victim::Command, "{told}: {newest}");
                failed += 1;
            }
            other => panic!("{told}: {other}: {newest}"),
        }
        let said_well = status.success();
        assert!(
            victim == Victim::Client || !said_well || newest["status"] == "complete",
            "{told}: {newest}"
        );
        all_have(&shop, live, &told);
    }
    println!("{complete} complete, {failed} failed, {unasked} never asked for; seed {seed:#x}");
}

/// Whether somebody has a connection to a listener that its side has not closed.
fn is_connected(listener: SocketAddr) -> bool {
    // Established, or closed by the other side: <https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html>
    const OPEN: [&str; 2] = ["01", "08"];
    let port = format!(":{:04X}", listener.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1].ends_with(&port) && OPEN.contains(&words[3])
    })
}

fn write(shop: &Shop, version: i64) {
    shop.write(&format!("[env]\nROUND = \"{version}\"\n{APP}"));
}

/// Further machines like the first.
fn grow(shop: &Shop) {
    let there = shop.machines("app");
    let path = shop.stage.path("");
    for _ in there.len()..MACHINES {
        let body = json!({"config": there[0]["config"]});
        shop.stage.cloud.post(&path, body).expect(200);
    }
    wait_until("all machines run", || {
        let machines = shop.machines("app");
        machines.len() == MACHINES && machines.iter().all(|machine| machine["state"] == "started")
    });
}

fn start(shop: &Shop) -> Child {
    let mut command = shop.cli.command();
    command
        .args(["deploy", "--image", "hello:latest", "--smoke-checks=false"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

fn kill_command(shop: &Shop, version: i64) {
    let version = version.to_string();
    wait_until("the release command is killed", || {
        let commands = shop.machines("fly_app_release_command");
        let of_release = commands.iter().find(|machine| {
            machine["config"]["metadata"]["fly_release_version"] == version.as_str()
                && machine["state"] == "started"
        });
        let killed = of_release.is_some_and(|machine| {
            let path = shop.stage.path(&format!("/{}/signal", id(machine)));
            let answer = shop.stage.cloud.post(&path, json!({"signal": "SIGKILL"}));
            answer.status == 200
        });
        // It may have been too quick for us.
        killed || shop.newest()["stage"] == "machines"
    });
}

fn all_have(shop: &Shop, version: i64, told: &str) {
    let all = shop.stage.cloud.get(&shop.stage.path("")).expect(200);
    let of_app = |machine: &&Value| machine["config"]["metadata"]["fly_process_group"] == "app";
    let machines: Vec<&Value> = all.as_array().unwrap().iter().filter(of_app).collect();
    assert_eq!(machines.len(), MACHINES, "{told}: {all}");
    for machine in machines {
        let id = id(machine);
        assert_eq!(machine["state"], "started", "{told}: {machine}");
        assert_eq!(shop.env(id, "ROUND"), version.to_string(), "{told}: {id}");
    }
}

//! The addresses machines leave by, and the policies about what they may begin, against a world behind the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mayfly_conformance::{Stage, inside};
use mayfly_testing::{CloudOptions, wait_until};
use serde_json::json;

/// Longer than a packet needs to any listener here, also on a crowded server.
const SILENCE: Duration = Duration::from_millis(700);

/// A namespace beyond the host, with addresses of its own and a way back to the pools.
struct World {
    name: String,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    host_v4: Ipv4Addr,
    host_v6: Ipv6Addr,
    pool_v4: String,
    pool_v6: String,
}

impl World {
    fn new() -> Self {
        // Of the range for benchmarks, a part that no other test takes; by process and world, so that runs can overlap.
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let world = WORLDS.fetch_add(1, Ordering::Relaxed);
        let number = std::process::id().wrapping_mul(2).wrapping_add(world) % (1 << 12);
        let base = Ipv4Addr::new(198, 19, 0, 0).to_bits() + number * 16;
        let v4 = |last| Ipv4Addr::from_bits(base + last);
        let group = number as u16;
        let v6 = |net, last| Ipv6Addr::new(0x2001, 0xdb8, 0xe9, group, net, 0, 0, last);
        let world = World {
            name: format!("tw{number:x}"),
            v4: v4(2),
            v6: v6(0, 2),
            host_v4: v4(1),
            host_v6: v6(0, 1),
            pool_v4: format!("{}/29", v4(8)),
            pool_v6: format!("{}/80", v6(1, 0)),
        };
        let World {
            name,
            v4,
            v6,
            host_v4,
            host_v6,
            pool_v4,
            pool_v6,
        } = &world;
        shell(&format!(
            "ip netns add {name} && ip link add {name} type veth peer name wan netns {name} &&
             ip addr add {host_v4}/29 dev {name} && ip addr add {host_v6}/80 dev {name} nodad &&
             ip link set {name} up && ip -n {name} addr add {v4}/29 dev wan &&
             ip -n {name} addr add {v6}/80 dev wan nodad && ip -n {name} link set wan up &&
             ip -n {name} link set lo up && ip -n {name} route add {pool_v4} via {host_v4} &&
             ip -n {name} route add {pool_v6} via {host_v6}"
        ));
        world
    }

    fn config(&self) -> CloudOptions {
        let (v4, v6) = (&self.pool_v4, &self.pool_v6);
        CloudOptions {
            config: Some(format!(
                "[addresses]\negress_v4 = \"{v4}\"\negress_v6 = \"{v6}\"\n"
            )),
            ..CloudOptions::default()
        }
    }

    fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    fn listen(&self, port: u16) -> [TcpListener; 2] {
        [IpAddr::from(self.v4), self.v6.into()]
            .map(|ip| inside(&self.namespace(), || TcpListener::bind((ip, port)).unwrap()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        shell(&format!("ip link del {0}; ip netns del {0}", self.name));
    }
}

fn shell(script: &str) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

/// Whether a connection from a machine's network comes about.
fn reaches(stage: &Stage, machine: &str, to: SocketAddr) -> bool {
    inside(&stage.network_of(machine), || {
        TcpStream::connect_timeout(&to, SILENCE).is_ok()
    })
}

/// Whom a listener sees when a program in the machine connects.
fn seen_from(stage: &Stage, machine: &str, listener: &TcpListener) -> IpAddr {
    let to = listener.local_addr().unwrap();
    let line = format!("nc -w 5 {} {} </dev/null", to.ip(), to.port());
    // The machine's `nc` waits for the other side to end the connection.
    let accepting = listener.try_clone().unwrap();
    let (accepted, peer) = mpsc::channel();
    std::thread::spawn(move || accepted.send(accepting.accept().unwrap().1.ip()));
    let exec = stage.exec(machine, &line);
    assert_eq!(exec.code, 0, "{to}: {exec:?}");
    peer.recv_timeout(SILENCE)
        .unwrap_or_else(|_| panic!("nobody came to {to}"))
}

#[test]
fn machines_leave_by_the_addresses_their_app_was_given() {
    let world = World::new();
    let mut stage = Stage::set_with(world.config());
    let listeners = world.listen(80);
    let chosen = stage.start(Stage::sleeper());
    stage.create_app("plain", "personal");
    stage.app = "plain".to_owned();
    let other = stage.start(Stage::sleeper());
    stage.app = "stage".to_owned();
    let usual = [IpAddr::from(world.host_v4), world.host_v6.into()];
    let seen = |stage: &mut Stage, app: &str, machine: &str| {
        stage.app = app.to_owned();
        let seen = listeners
            .each_ref()
            .map(|listener| seen_from(stage, machine, listener));
        stage.app = "stage".to_owned();
        seen
    };
    assert_eq!(seen(&mut stage, "stage", &chosen), usual);

    let cli = stage.cloud.cli();
    let made = cli.run([
        "ips",
        "allocate-egress",
        "--app",
        "stage",
        "-r",
        "iad",
        "--yes",
    ]);
    let made = made.ok();
    let ips = stage.cloud.get("/v1/apps/stage/ip_assignments").expect(200);
    let given: Vec<IpAddr> = ips["ips"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|ip| ip["egress"] == true && ip["region"] == "iad")
        .map(|ip| ip["ip"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(given.len(), 2, "{ips}");
    assert!(
        given.iter().all(|ip| made.contains(&ip.to_string())),
        "{made}"
    );
    let mut wanted = given.clone();
    wanted.sort();
    wait_until("the machine leaves by them", || {
        let mut now = seen(&mut stage, "stage", &chosen);
        now.sort();
        now.as_slice() == wanted
    });
    assert_eq!(seen(&mut stage, "plain", &other), usual, "another app");
    // From its next start on, the machine is told.
    let told = stage.shell(&chosen, "echo $FLY_PUBLIC_IP");
    assert_eq!(told, stage.shell(&chosen, "echo $FLY_PRIVATE_IP"));
    stage.act(&chosen, "restart", json!({}));
    wait_until("the machine is told its public address", || {
        // While it restarts there is nobody to ask.
        let ask = json!({"command": ["/bin/sh", "-c", "echo $FLY_PUBLIC_IP"]});
        let answer = stage.try_act(&chosen, "exec", ask).json();
        let told = answer["stdout"]
            .as_str()
            .and_then(|text| text.trim().parse().ok());
        told.is_some_and(|ip: IpAddr| given.contains(&ip) && ip.is_ipv6())
    });

    // Nobody arrives by them, and a restart changes nothing.
    stage.cloud.crash_and_restart();
    let mut again = seen(&mut stage, "stage", &chosen);
    again.sort();
    assert_eq!(again.as_slice(), wanted);
    let own = TcpListener::bind("[::]:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _own = TcpListener::bind(("::", own)).unwrap();
    for ip in &given {
        let target = SocketAddr::new(*ip, own);
        let arrived = inside(&world.namespace(), || {
            TcpStream::connect_timeout(&target, SILENCE).is_ok()
        });
        assert!(!arrived, "{target}");
    }

    // A second pair by the API's other shape; a region, and an app without machines there.
    let path = "/v1/apps/plain/ip_assignments";
    let pair = stage
        .cloud
        .post(path, json!({"type": "egress_pair", "region": "iad"}))
        .expect(200);
    assert_ne!(pair["ip_pair"]["v4"]["ip"], given[0].to_string());
    assert_eq!(pair["ip_pair"]["v6"]["type"], "egress_v6");
    let refused = stage.cloud.post(path, json!({"type": "egress_pair"}));
    assert_eq!(refused.status, 422, "{}", refused.text());

    for ip in &given {
        cli.run(["ips", "release-egress", "--app", "stage", &ip.to_string()])
            .ok();
    }
    wait_until("the machine leaves as the host again", || {
        seen(&mut stage, "stage", &chosen) == usual
    });
}

#[test]
fn policies_hold_at_once_and_stay() {
    let world = World::new();
    let mut stage = Stage::set_with(world.config());
    let _web = world.listen(80);
    let _tls = world.listen(443);
    let (guarded, mate) = (
        stage.start(Stage::sleeper()),
        stage.start(json!({"image": "hello:latest", "env": {"PORT": "8080"}})),
    );
    let mate_ip: Ipv6Addr = stage.get(&mate)["private_ip"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let to_mate = SocketAddr::from((mate_ip, 8080));
    wait_until("the other machine listens", || {
        reaches(&stage, &guarded, to_mate)
    });
    let to = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let (v4, v6) = (IpAddr::from(world.v4), IpAddr::from(world.v6));
    let path = "/v1/apps/stage/network_policies";
    // The documentation's own example, for one machine.
    let policy = json!({
        "name": "specific-egress",
        "selector": {"machines": [{"id": guarded}]},
        "rules": [{
            "action": "allow",
            "direction": "egress",
            "ports": [{"protocol": "tcp", "port": 443}],
        }],
    });
    let made = stage.cloud.post(path, policy.clone()).expect(201);
    let asked = Instant::now();
    while reaches(&stage, &guarded, to(v4, 80)) {
        assert!(asked.elapsed() < Duration::from_secs(10), "nothing happens");
    }
    // The attempt that failed has waited in vain for `SILENCE` first.
    println!(
        "in force within {:?}",
        asked.elapsed().saturating_sub(SILENCE)
    );
    let hold = |stage: &Stage, what: &str| {
        for (target, open) in [
            (to(v4, 80), false),
            (to(v6, 80), false),
            (to(v4, 443), true),
            (to(v6, 443), true),
            (to_mate, false),
        ] {
            assert_eq!(reaches(stage, &guarded, target), open, "{what}: {target}");
        }
        assert!(reaches(stage, &mate, to(v4, 80)), "{what}: another machine");
    };
    hold(&stage, "while the daemon runs");
    // Names are not traffic of the policy.
    let answer = stage.exec(&guarded, "nslookup -type=txt _apps.internal");
    assert!(answer.stdout.contains("stage"), "{answer:?}");
    stage.cloud.kill_daemon();
    // Without `mate`, whose answers need no daemon either.
    assert!(!reaches(&stage, &guarded, to(v4, 80)) && reaches(&stage, &guarded, to(v4, 443)));
    stage.cloud.start_daemon();
    hold(&stage, "after a crash");
    stage.act(&guarded, "restart", json!({}));
    stage.wait(&guarded, "started");
    hold(&stage, "after the machine's restart");

    // Replaced by id: everything but the internet.
    let id = made["id"].as_str().unwrap();
    let mut other = policy;
    other["id"] = id.into();
    other["rules"] = json!([{
        "action": "deny",
        "direction": "egress",
        "cidrs": ["0.0.0.0/0", "2000::/3"],
    }]);
    stage.cloud.post(path, other).expect(200);
    wait_until("the other machine is reached again", || {
        reaches(&stage, &guarded, to_mate)
    });
    assert!(!reaches(&stage, &guarded, to(v4, 443)));
    let listed = stage.cloud.get(&format!("{path}/")).expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["rules"][0]["cidrs"][0], "0.0.0.0/0");

    // Towards a machine, by app, from the command line.
    let cli = stage.cloud.cli();
    let words = "network-policies create --app stage --name inner --direction ingress";
    let more = "--port tcp/8080 --peer-app nobody --machine";
    let words = words
        .split(' ')
        .chain(more.split(' '))
        .chain([mate.as_str()]);
    cli.run(words).ok();
    wait_until("strangers are refused", || {
        !reaches(&stage, &guarded, to_mate)
    });
    let shown = cli.run(["network-policies", "list", "--app", "stage"]);
    assert!(
        shown.ok().contains("allow ingress tcp/8080 from nobody"),
        "{shown:?}"
    );
    for policy in stage.cloud.get(path).expect(200).as_array().unwrap() {
        let id = policy["id"].as_str().unwrap();
        cli.run(["network-policies", "delete", "--app", "stage", id])
            .ok();
    }
    wait_until("everything is open again", || {
        reaches(&stage, &guarded, to_mate) && reaches(&stage, &guarded, to(v6, 80))
    });

    for (body, named) in [
        (json!({}), "name"),
        (json!({"name": "x"}), "rules"),
        (json!({"name": "x", "rules": [{}]}), "selector"),
        (
            json!({"name": "x", "selector": {"all": true}, "rules": [{"action": "drop"}]}),
            "rules[0].action",
        ),
        (
            json!({"name": "x", "selector": {"all": true}, "rules": [
                {"action": "allow", "direction": "egress", "ports": [{"protocol": "tls"}]}]}),
            "rules[0].ports[0].protocol",
        ),
        (
            json!({"name": "x", "selector": {"all": true}, "rules": [
                {"action": "allow", "direction": "egress", "cidrs": ["10.0.0.0/99"]}]}),
            "rules[0].cidrs[0]",
        ),
    ] {
        let refused = stage.cloud.post(path, body);
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(
            refused.text().contains(named),
            "{named}: {}",
            refused.text()
        );
    }
}

//! Every way out of a private network, tried from inside by a program with raw sockets; and the proof that the attempts
//! would succeed if nothing stood in their way.

mod across;
mod ear;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use ear::{HostEar, here};
use mayfly_conformance::Stage;
use mayfly_testing::wait_until;
use serde_json::{Value, json};

/// Host addresses that are attacked at most: a server may have very many.
const HOST_ADDRESSES_MAX: usize = 16;

/// A machine that listens where nothing of an attacker may arrive.
struct Ear {
    app: &'static str,
    id: String,
    ipv6: Ipv6Addr,
    ipv4: String,
}

/// An attacker with a friend, two victims in other networks, and the host's own ear.
struct Arena {
    stage: Stage,
    token: String,
    port: u16,
    attacker: String,
    friend: Ear,
    victims: [Ear; 2],
    host: HostEar,
    /// Held open for the attacker to look for.
    _socket: UnixListener,
}

impl Arena {
    fn set() -> Self {
        let mut stage = Stage::set();
        stage.import_probe();
        stage
            .cloud
            .post("/v1/orgs", json!({"name": "Others", "slug": "others"}))
            .expect(201);
        stage.create_app("foreign", "others");
        let beside = json!({"app_name": "beside", "org_slug": "personal", "network": "own"});
        stage.cloud.post("/v1/apps", beside).expect(201);

        let reserved = TcpListener::bind("[::]:0").unwrap();
        let port = reserved.local_addr().unwrap().port();
        drop(reserved);
        let token = format!("mfprobe-{}-{port}-", std::process::id());
        let host = HostEar::start(here(), &token, port);
        let name = SocketAddr::from_abstract_name(token.as_bytes()).unwrap();
        let socket = UnixListener::bind_addr(&name).unwrap();
        let mut ear = |app: &'static str| {
            stage.app = app.to_owned();
            let id = stage.start(json!({
                "image": "probe:latest",
                "init": {"exec": ["/bin/netprobe", "ear", token, port.to_string()]},
            }));
            stage.line_with(&id, "LISTENING");
            Ear {
                app,
                ipv6: stage.get(&id)["private_ip"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap(),
                ipv4: stage.shell(
                    &id,
                    "ip -4 -o addr show dev eth0 | tr -s ' ' | cut -d' ' -f4 | cut -d/ -f1",
                ),
                id,
            }
        };
        let (friend, victims) = (ear("stage"), [ear("beside"), ear("foreign")]);
        stage.app = "stage".to_owned();
        let attacker = stage.start(json!({
            "image": "probe:latest",
            "init": {"exec": ["/bin/sleep", "inf"]},
        }));
        Self {
            stage,
            token,
            port,
            attacker,
            friend,
            victims,
            host,
            _socket: socket,
        }
    }

    /// What must not be reached, with ports somebody listens on.
    fn targets(&self) -> Vec<Value> {
        let cloud = &self.stage.cloud;
        let ports = [cloud.api(), cloud.edge(), cloud.edge_tls()].map(|address| address.port());
        let mut targets = Vec::new();
        for victim in &self.victims {
            let path = format!("/v1/apps/{}/ip_assignments", victim.app);
            let flycast = cloud.post(&path, json!({"type": "private_v6"})).expect(200);
            let second = Ipv6Addr::from_bits(victim.ipv6.to_bits() ^ 0xf00);
            for (what, ip) in [
                ("private address", victim.ipv6.to_string()),
                ("second address", second.to_string()),
                ("IPv4 address", victim.ipv4.clone()),
                (
                    "Flycast address",
                    flycast["ip"].as_str().unwrap().to_owned(),
                ),
            ] {
                let name = format!("{what} of {}", victim.app);
                targets.push(json!({"Name": name, "Ip": ip, "Ports": [80]}));
            }
        }
        let output = Command::new("ip").args(["-o", "addr"]).output().unwrap();
        for ip in host_addresses(&String::from_utf8(output.stdout).unwrap()) {
            let mut ports = ports.to_vec();
            ports.extend([53, 4280]);
            targets.push(json!({"Name": format!("the host by {ip}"), "Ip": ip, "Ports": ports}));
        }
        for ip in [
            "169.254.169.254",
            "169.254.1.1",
            "fe80::1",
            "127.0.0.1",
            "::1",
            "64:ff9b::7f00:1",
        ] {
            targets.push(json!({"Name": format!("well-known {ip}"), "Ip": ip, "Ports": ports}));
        }
        targets
    }

    /// Lets the attacker work on targets; what it found out.
    fn attack(&self, targets: &[Value]) -> Vec<String> {
        let order = json!({
            "Token": self.token,
            "Port": self.port,
            "Targets": targets,
            "Friend": self.friend.ipv6,
            "Names": names_of(&self.victims[1]),
            "Sockets": [self.token],
        });
        found(&self.stage.act(&self.attacker, "exec", attack(&order)))
    }

    /// What an ear heard so far.
    fn heard(&self, ear: &Ear) -> BTreeSet<String> {
        heard(&self.stage.cloud.get(&logs_of(ear)).expect(200))
    }
}

/// Names of the app `foreign`, of which `stranger` is a machine, and of `beside`.
fn names_of(stranger: &Ear) -> Vec<String> {
    let reversed = stranger.ipv6.octets().into_iter().rev();
    let reversed: Vec<String> = reversed
        .flat_map(|byte| [byte & 15, byte >> 4])
        .map(|nibble| format!("{nibble:x}"))
        .collect();
    let mut names: Vec<String> = [
        "foreign.internal",
        "beside.internal",
        "foreign.flycast",
        "beside.flycast",
        "vms.foreign.internal",
        "all.vms.beside.internal",
        "regions.foreign.internal",
        "top3.nearest.of.foreign.internal",
    ]
    .map(str::to_owned)
    .into();
    names.extend([
        format!("{}.vm.foreign.internal", stranger.id),
        format!("{}.vm.stage.internal", stranger.id),
        format!("{}.ip6.arpa", reversed.join(".")),
    ]);
    names
}

/// The request that lets an attacker carry out an order.
fn attack(order: &Value) -> Value {
    json!({"command": ["/bin/netprobe", "attack", order.to_string()], "timeout": 60})
}

/// What an attacker found out, from the answer to [`attack`].
fn found(answer: &Value) -> Vec<String> {
    let output = answer["stdout"].as_str().unwrap();
    assert!(
        output.ends_with("DONE\n"),
        "the attacker did not end: {answer}"
    );
    let lines = output.lines().filter(|line| *line != "DONE");
    lines.map(str::to_owned).collect()
}

fn logs_of(ear: &Ear) -> String {
    format!(
        "/api/v1/apps/{}/logs?instance={}&limit=1000&wait=0",
        ear.app, ear.id
    )
}

/// What an ear heard, from a page of its log.
fn heard(page: &Value) -> BTreeSet<String> {
    let entries = page["data"].as_array().unwrap();
    let lines = entries
        .iter()
        .filter_map(|entry| entry["attributes"]["message"].as_str());
    lines
        .filter_map(|line| line.strip_prefix("HEARD ").map(str::to_owned))
        .collect()
}

/// Probes that any machine may send to another of its network.
const ALLOWED: [&str; 7] = [
    "friend datagram",
    "friend datagram from the true one",
    "friend echo from the true one",
    "friend fragments",
    "friend protocol 47",
    "friend protocol 132",
    "friend tcp syn from the true one",
];

/// Those among what a friend heard that say they are of somebody else.
fn forged(heard: BTreeSet<String>) -> Vec<String> {
    let forged = heard
        .into_iter()
        .filter(|probe| probe.contains(" from ") && !probe.ends_with("the true one"));
    forged
        .filter(|probe| !probe.ends_with("to the port"))
        .collect()
}

/// Addresses of a server outside of the interfaces of machines, from what `ip -o addr` says there.
fn host_addresses(text: &str) -> Vec<IpAddr> {
    let mut addresses = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[1].starts_with("mf") {
            continue;
        }
        let ip: IpAddr = words[3].split('/').next().unwrap().parse().unwrap();
        // Of the loopback network machines have their own.
        if !ip.is_loopback() {
            addresses.insert(ip);
        }
    }
    assert!(!addresses.is_empty(), "this server has no address");
    addresses.into_iter().take(HOST_ADDRESSES_MAX).collect()
}

#[test]
fn nothing_gets_out_of_a_network() {
    let arena = Arena::set();
    let found = arena.attack(&arena.targets());
    assert_eq!(found, Vec::<String>::new(), "the attacker's view");
    for victim in &arena.victims {
        assert_eq!(arena.heard(victim), BTreeSet::new(), "{}", victim.app);
    }
    let at_host = arena.host.heard();
    assert_eq!(at_host, Vec::<String>::new(), "the host");

    // The same attempts reach a machine of the same network, unless they forge their source.
    let friend = json!({"Name": "friend", "Ip": arena.friend.ipv6, "Ports": []});
    arena.attack(&[friend]);
    for probe in ALLOWED {
        wait_until(&format!("the friend hears: {probe}"), || {
            arena.heard(&arena.friend).contains(probe)
        });
    }
    let forged = forged(arena.heard(&arena.friend));
    assert_eq!(forged, Vec::<String>::new(), "forged sources");
}

/// The suite above is worth something only if it fails without isolation.
#[test]
fn without_the_firewall_the_attempts_succeed() {
    let arena = Arena::set();
    let targets = arena.targets();
    let table = format!("mayfly_{}", arena.stage.tag());
    let deleted = Command::new("nft")
        .args(["delete", "table", "inet", &table])
        .status()
        .unwrap();
    assert!(deleted.success());
    let found = arena.attack(&targets);
    let about = |text: &str| found.iter().any(|line| line.contains(text));
    assert!(about("connection to port"), "connections: {found:?}");
    assert!(about("the host by"), "the host's answers: {found:?}");
    assert!(about("echo answered"), "echoes: {found:?}");
    for victim in &arena.victims {
        wait_until("a victim is reached", || !arena.heard(victim).is_empty());
        let heard = arena.heard(victim);
        for probe in [
            "protocol 47",
            "echo from the true one",
            "datagram from the friend",
        ] {
            let name = format!("private address of {} {probe}", victim.app);
            assert!(heard.contains(&name), "{probe}: {heard:?}");
        }
    }
    let at_host = arena.host.heard();
    assert!(
        at_host.iter().any(|line| line.contains("connection from")),
        "the host: {at_host:?}"
    );
}

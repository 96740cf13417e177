//! A user's laptop on the private network, with the programs users have: `wg-quick`, `dig`, `curl`.

use std::fs;
use std::io::Read;
use std::net::{Ipv6Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, wait_until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

/// A computer of a user: a namespace on a wire to the server.
struct Laptop {
    name: String,
    host_ip: String,
    folder: tempfile::TempDir,
    relay: Option<Child>,
}

impl Laptop {
    fn new() -> Laptop {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let unique = std::process::id() * 16 + MADE.fetch_add(1, Ordering::Relaxed) % 16;
        let name = format!("tl{unique:x}");
        // Pairs from the range for benchmarks (RFC 2544).
        let base = u32::from_be_bytes([198, 19, 0, 0]) + unique % (1 << 14) * 4;
        let ip = |last| std::net::Ipv4Addr::from_bits(base + last).to_string();
        let (host_ip, own_ip) = (ip(1), ip(2));
        run(&format!(
            "ip netns add {name} && ip link add {name} type veth peer name wan netns {name} &&
             ip addr add {host_ip}/30 dev {name} && ip link set {name} up &&
             ip -n {name} addr add {own_ip}/30 dev wan && ip -n {name} link set wan up && ip -n {name} link set lo up"
        ));
        let folder = tempfile::tempdir().unwrap();
        // wg-quick tells it about servers of names; here a file for `ip netns exec` takes its place.
        let resolvconf = folder.path().join("resolvconf");
        fs::write(&resolvconf, "#!/bin/sh\ncat >/dev/null\n").unwrap();
        run(&format!("chmod 755 {}", resolvconf.display()));
        Laptop {
            name,
            host_ip,
            folder,
            relay: None,
        }
    }

    /// The interface of a configuration: wireguard-go names its socket so, in one directory for all namespaces.
    fn tunnel(&self, number: u8) -> String {
        format!("{}t{number}", self.name)
    }

    fn file(&self, number: u8) -> PathBuf {
        self.folder
            .path()
            .join(format!("{}.conf", self.tunnel(number)))
    }

    fn shell(&self, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new("ip")
            .args(["netns", "exec", &self.name, "sh", "-c", script])
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("WG_QUICK_USERSPACE_IMPLEMENTATION", "wireguard-go")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn says(&self, script: &str) -> String {
        let output = self.shell(script);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Brings up the tunnel that a configuration describes.
    fn up(&self, number: u8) {
        let text = fs::read_to_string(self.file(number)).unwrap();
        let names = text.lines().find_map(|line| line.strip_prefix("DNS = "));
        let folder = PathBuf::from("/etc/netns").join(&self.name);
        fs::create_dir_all(&folder).unwrap();
        let resolver = format!("nameserver {}\noptions timeout:1\n", names.unwrap());
        fs::write(folder.join("resolv.conf"), resolver).unwrap();
        let output = self.shell(&format!("wg-quick up {}", self.file(number).display()));
        assert!(output.status.success(), "{output:?}");
    }

    fn down(&self, number: u8) {
        let output = self.shell(&format!("wg-quick down {}", self.file(number).display()));
        assert!(output.status.success(), "{output:?}");
    }

    fn reaches(&self, url: &str) -> bool {
        self.says(&format!("curl -g -s -m 3 {url}"))
            .contains("hello from")
    }

    fn listener(&self, address: Ipv6Addr) -> TcpListener {
        let file = fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let bound = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                TcpListener::bind((address, 8000)).unwrap()
            });
            bound.join().unwrap()
        })
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        if let Some(mut relay) = self.relay.take() {
            drop(relay.stdin.take());
            let _ = relay.wait();
        }
        for pid in self.says(&format!("ip netns pids {}", self.name)).lines() {
            run(&format!("kill {pid} || true"));
        }
        let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(&self.name));
        run(&format!(
            "ip netns del {0}; ip link del {0} 2>/dev/null || true",
            self.name
        ));
    }
}

fn run(script: &str) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

fn installed() -> bool {
    let missing: Vec<&str> = ["wg-quick", "wireguard-go", "dig", "curl", "python3"]
        .into_iter()
        .filter(|program| {
            let found = Command::new("sh")
                .args(["-c", &format!("command -v {program}")])
                .output();
            !found.is_ok_and(|output| output.status.success())
        })
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: not installed: {}", missing.join(", "));
    }
    missing.is_empty()
}

/// Of gateways, which listen at an address of each test's own.
const PORT: u16 = 51820;

/// A cloud whose gateway a laptop reaches, with a machine that says hello.
fn stage(laptop: &Laptop) -> Stage {
    let config = format!(
        "[gateway]\nlisten = \"{0}:{PORT}\"\nendpoint = \"{0}\"\n",
        laptop.host_ip
    );
    Stage::set_with(CloudOptions {
        config: Some(config),
        ..CloudOptions::default()
    })
}

fn web() -> Value {
    let mut config = Stage::script(
        "mkdir /tmp/w; echo hello from $FLY_APP_NAME >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w",
    );
    config["services"] = json!([{
        "protocol": "tcp",
        "internal_port": 80,
        "ports": [{ "port": 80, "handlers": ["http"] }],
    }]);
    config
}

fn private_ip(stage: &Stage, id: &str) -> String {
    stage.get(id)["private_ip"].as_str().unwrap().to_owned()
}

fn mayfly(stage: &Stage, arguments: &[&str]) -> String {
    let answer = stage.cloud.cli().run(arguments);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    answer.stdout
}

#[test]
fn a_laptop_joins_its_network_by_wg_quick_and_leaves_when_it_is_told() {
    if !installed() {
        return;
    }
    let laptop = Laptop::new();
    let mut stage = stage(&laptop);
    let machine = stage.start(web());
    stage
        .cloud
        .post("/v1/orgs", json!({"name": "Others", "slug": "others"}))
        .expect(201);
    stage.create_app("foreign", "others");
    stage.app = "foreign".to_owned();
    let foreign = stage.start(web());
    let foreign_ip = private_ip(&stage, &foreign);
    stage.app = "stage".to_owned();

    let file = laptop.file(0);
    let path = file.to_str().unwrap();
    mayfly(
        &stage,
        &["wireguard", "create", "personal", "iad", "laptop", path],
    );
    let text = fs::read_to_string(&file).unwrap();
    let line = |key: &str| {
        let begin = format!("{key} = ");
        let found = text.lines().find_map(|line| line.strip_prefix(&begin));
        found
            .unwrap_or_else(|| panic!("{key} in {text}"))
            .to_owned()
    };
    assert_eq!(line("Endpoint"), format!("{}:{PORT}", laptop.host_ip));
    assert_eq!(line("PersistentKeepalive"), "15");
    let own: Ipv6Addr = line("Address")
        .strip_suffix("/120")
        .unwrap()
        .parse()
        .unwrap();
    let names = line("DNS");
    laptop.up(0);

    // Names, echoes and apps.
    let ip = private_ip(&stage, &machine);
    let address: Ipv6Addr = ip.parse().unwrap();
    wait_until("the laptop resolves names", || {
        laptop.says(&format!("dig +short +tcp @{names} AAAA stage.internal")) == address.to_string()
    });
    assert_eq!(
        laptop.says(&format!("dig +short @{names} AAAA laptop._peer.internal")),
        own.to_string()
    );
    assert_eq!(
        laptop.says(&format!("dig +short @{names} TXT _peer.internal")),
        "\"laptop\""
    );
    wait_until("the machine serves", || {
        laptop.reaches("http://stage.internal/")
    });
    let echo = laptop.shell(&format!(
        "ping -6 -c 1 -W 3 {names} 2>&1 || python3 -c \"{}\"",
        echo_script(&names)
    ));
    assert!(echo.status.success(), "{echo:?}");
    // Every address of its /120 is the laptop's.
    let other = Ipv6Addr::from_bits(own.to_bits() & !0xff);
    run(&format!(
        "ip -n {} addr add {other}/128 dev {} nodad",
        laptop.name,
        laptop.tunnel(0)
    ));
    assert!(
        laptop
            .says(&format!(
                "curl -g -s -m 3 --interface {other} http://[{ip}]/"
            ))
            .contains("hello")
    );

    // Machines reach it, by name.
    let listener = laptop.listener(own);
    let greeted = std::thread::spawn(move || {
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        text
    });
    wait_until("the machine reaches the laptop", || {
        stage
            .exec(&machine, "echo hi | nc -w 3 laptop._peer.internal 8000")
            .code
            == 0
    });
    assert_eq!(greeted.join().unwrap(), "hi\n");

    // The API, where a token is required, and apps by their private addresses.
    let api = "http://_api.internal:4280";
    let status = |more: &str, path: &str| {
        laptop.says(&format!(
            "curl -s -o /dev/null -m 5 -w '%{{http_code}}' {more} {api}{path}"
        ))
    };
    assert_eq!(status("", "/"), "404");
    assert_eq!(status("", "/v1/apps/stage/machines"), "401");
    let bearer = format!("-H 'Authorization: Bearer {}'", stage.cloud.token());
    assert_eq!(status(&bearer, "/v1/apps/stage/machines"), "200");
    mayfly(
        &stage,
        &["ips", "allocate-v6", "--private", "--app", "stage"],
    );
    wait_until("the app's private address leads through the edge", || {
        laptop.reaches("http://stage.flycast/")
    });

    // Nothing of the other organization, and nothing of the server.
    assert_eq!(
        laptop.says(&format!("dig +short @{names} AAAA foreign.internal")),
        ""
    );
    let (space, tunnel) = (&laptop.name, laptop.tunnel(0));
    run(&format!(
        "ip -n {space} route add {foreign_ip}/128 dev {tunnel}"
    ));
    run(&format!(
        "ip netns exec {space} wg set {tunnel} peer \"$(ip netns exec {space} wg show {tunnel} peers)\" allowed-ips fdaa::/16"
    ));
    assert!(laptop.reaches(&format!("http://[{ip}]/")));
    assert!(
        !laptop.reaches(&format!("http://[{foreign_ip}]/")),
        "another organization's machine"
    );

    // It is shown.
    let listed = mayfly(&stage, &["wireguard", "list", "personal", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed[0]["Name"], &listed[0]["Connected"]),
        (&json!("laptop"), &json!(true))
    );
    let status = mayfly(&stage, &["wg", "status", "personal", "laptop"]);
    assert!(
        status.contains("Connected") && status.contains("yes"),
        "{status}"
    );

    // The gateway is killed and comes back: it calls the laptop, whose keys are good for two minutes more.
    std::thread::sleep(Duration::from_secs(3));
    stage.cloud.crash_and_restart();
    let back = Instant::now();
    wait_until("the tunnel is back", || {
        laptop.reaches(&format!("http://[{ip}]/"))
    });
    assert!(
        back.elapsed() < Duration::from_secs(12),
        "{:?}: before the laptop could notice",
        back.elapsed()
    );

    // A program with a token enters a device of its own, and gives it another key.
    let token = mayfly(&stage, &["wireguard", "token", "create", "personal", "ci"]);
    let by_token = |arguments: &[&str]| {
        let cli = stage.cloud.cli();
        let mut command = cli.command();
        command.env_remove("FLY_API_TOKEN");
        command.env("FLY_WIREGUARD_TOKEN", token.trim());
        let words = ["wireguard", "token"].iter().chain(arguments);
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    laptop.down(0);
    let (first, second) = (laptop.file(2), laptop.file(3));
    let path = |file: &PathBuf| file.to_str().unwrap().to_owned();
    by_token(&["start", "robot", "k8s", "iad", &path(&first)]);
    laptop.up(2);
    wait_until("the robot is in", || {
        laptop.reaches("http://stage.internal/")
    });
    by_token(&["update", "robot", &path(&second)]);
    assert!(!laptop.reaches("http://stage.internal/"), "the old key");
    laptop.down(2);
    laptop.up(3);
    wait_until("the robot is in by its new key", || {
        laptop.reaches("http://stage.internal/")
    });
    let listed = mayfly(&stage, &["wireguard", "list", "personal", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed[1]["Name"], &listed[1]["Token"], &listed[1]["Group"]),
        (&json!("robot"), &json!("ci"), &json!("k8s"))
    );
    mayfly(&stage, &["wireguard", "token", "delete", "personal", "ci"]);
    mayfly(&stage, &["wireguard", "remove", "personal", "robot"]);
    assert!(!laptop.reaches("http://stage.internal/"));
    laptop.down(3);
    laptop.up(0);
    wait_until("the laptop is back", || {
        laptop.reaches(&format!("http://[{ip}]/"))
    });

    // Removed, it is out at once.
    mayfly(&stage, &["wireguard", "remove", "personal", "laptop"]);
    assert!(!laptop.reaches(&format!("http://[{ip}]/")));
    assert!(!laptop.reaches("http://stage.internal/"));
}

#[test]
fn a_tunnel_passes_over_a_websocket_as_the_official_client_speaks_it() {
    if !installed() {
        return;
    }
    let mut laptop = Laptop::new();
    let stage = stage(&laptop);
    let machine = stage.start(web());
    let file = laptop.file(1);
    let path = file.to_str().unwrap();
    mayfly(
        &stage,
        &["wireguard", "create", "personal", "", "phone", path],
    );
    let text = fs::read_to_string(&file).unwrap();
    let endpoint = format!("Endpoint = {}:{PORT}", laptop.host_ip);
    fs::write(&file, text.replace(&endpoint, "Endpoint = 127.0.0.1:4999")).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/peers/wireguard/over_websocket.py"
    );
    let relay = Command::new("ip")
        .args(["netns", "exec", &laptop.name, "python3", script])
        .args([laptop.host_ip.as_str(), &PORT.to_string(), "4999"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    laptop.relay = Some(relay);
    laptop.up(1);
    wait_until("the machine is reached", || {
        laptop.reaches("http://stage.internal/")
    });
    // Larger than one frame, and more than one datagram at a time.
    stage.exec(&machine, "head -c 300000 /dev/zero >/tmp/w/large");
    let ip = private_ip(&stage, &machine);
    let size = laptop.says(&format!("curl -g -s -m 20 http://[{ip}]/large | wc -c"));
    assert_eq!(size, "300000");
    let status = mayfly(&stage, &["wg", "status", "personal", "phone"]);
    assert!(status.contains("by WebSocket"), "{status}");
    let relay = laptop.relay.as_mut().unwrap();
    assert!(
        relay.try_wait().unwrap().is_none(),
        "nothing the official client would refuse"
    );
    // Before the cloud, whose end it would complain about.
    drop(laptop);
}

/// An ICMPv6 echo without `ping`, for servers that have none.
fn echo_script(to: &str) -> String {
    format!(
        "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58); s.settimeout(3); \
         s.sendto(bytes([128, 0, 0, 0, 7, 7, 0, 1]), ('{to}', 0)); \
         exit(0 if any(s.recv(99)[0] == 129 for _ in range(5)) else 1)"
    )
}

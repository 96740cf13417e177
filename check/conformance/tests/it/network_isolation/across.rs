//! The same attempts between servers of a fleet: an attacker on each, and on each what no attacker may reach.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use mayfly_conformance::{netprobe, write_probe_archive};
use mayfly_testing::{TestFleet, wait_for, wait_until};
use serde_json::{Value, json};

use super::ear::HostEar;
use super::{ALLOWED, Ear, attack, forged, found, heard, host_addresses, logs_of, names_of};

/// The port of the ears; every server is a namespace of its own.
const PORT: u16 = 7654;
/// Where something of a server listens: names, API, calls between servers and their tunnels, backhaul, edge, gateway.
const SERVER_PORTS: [u16; 8] = [53, 4280, 4290, 4292, 8080, 8443, 51820, 22];
const REGIONS: [&str; 2] = ["fra", "ams"];

/// What there is on each of two servers.
struct Side {
    /// Of the first organization's default network.
    attacker: String,
    friend: Ear,
    /// Of another network of the organization, and of another organization.
    victims: [Ear; 2],
    host: HostEar,
}

struct Field {
    fleet: TestFleet,
    token: String,
    sides: Vec<Side>,
}

impl Field {
    fn set() -> Self {
        let fleet = TestFleet::start(&REGIONS, "");
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("probe.tar");
        write_probe_archive(&archive);
        let archive = archive.to_string_lossy().into_owned();
        fleet.must(&["image", "import", &archive, "--name", "probe:latest"]);
        let mut field = Self {
            fleet,
            token: "mfacross-".to_owned(),
            sides: Vec::new(),
        };
        field.post("/v1/orgs", json!({"name": "Others", "slug": "others"}));
        for app in [
            json!({"app_name": "stage", "org_slug": "personal"}),
            json!({"app_name": "beside", "org_slug": "personal", "network": "own"}),
            json!({"app_name": "foreign", "org_slug": "others"}),
        ] {
            field.post("/v1/apps", app);
        }
        for server in 0..REGIONS.len() {
            let side = field.side(server);
            field.sides.push(side);
        }
        field
    }

    fn side(&self, server: usize) -> Side {
        let ear = |app| self.ear(server, app);
        let (friend, victims) = (ear("stage"), [ear("beside"), ear("foreign")]);
        let command = self.fleet.command_on(server, &netprobe().to_string_lossy());
        Side {
            attacker: self.run(server, "stage", &["/bin/sleep", "inf"]),
            friend,
            victims,
            host: HostEar::start(command, &self.token, PORT),
        }
    }

    fn ear(&self, server: usize, app: &'static str) -> Ear {
        let port = PORT.to_string();
        let id = self.run(server, app, &["/bin/netprobe", "ear", &self.token, &port]);
        let exec = |command: Value| {
            let path = format!("/v1/apps/{app}/machines/{id}/exec");
            let answer = self.post(&path, json!({"command": command, "timeout": 30}));
            answer["stdout"].as_str().unwrap().trim().to_owned()
        };
        let line = "ip -4 -o addr show dev eth0 | tr -s ' ' | cut -d' ' -f4 | cut -d/ -f1";
        let ear = Ear {
            app,
            ipv6: exec(json!(["/bin/sh", "-c", "echo $FLY_PRIVATE_IP"]))
                .parse()
                .unwrap(),
            ipv4: exec(json!(["/bin/sh", "-c", line])),
            id,
        };
        wait_until("the ear listens", || {
            self.get(&logs_of(&ear)).to_string().contains("LISTENING")
        });
        ear
    }

    /// The id of a machine that was started.
    fn run(&self, server: usize, app: &str, program: &[&str]) -> String {
        let config = json!({"image": "probe:latest", "init": {"exec": program}});
        let body = json!({"region": REGIONS[server], "config": config});
        let machine = self.post(&format!("/v1/apps/{app}/machines"), body);
        let id = machine["id"].as_str().unwrap().to_owned();
        self.get(&format!(
            "/v1/apps/{app}/machines/{id}/wait?state=started&timeout=60"
        ));
        id
    }

    /// What a machine of `server` must not reach: what others have on either side, and both servers.
    fn targets(&self) -> Vec<Value> {
        let mut targets = Vec::new();
        for (server, side) in self.sides.iter().enumerate() {
            let region = REGIONS[server];
            for victim in &side.victims {
                let second = Ipv6Addr::from_bits(victim.ipv6.to_bits() ^ 0xf00);
                for (what, ip) in [
                    ("private address", victim.ipv6.to_string()),
                    ("second address", second.to_string()),
                    ("IPv4 address", victim.ipv4.clone()),
                ] {
                    let name = format!("{what} of {} in {region}", victim.app);
                    targets.push(json!({"Name": name, "Ip": ip, "Ports": [80]}));
                }
            }
            let shown = self.fleet.run_on(server, "ip", &["-o", "addr"]).unwrap();
            for ip in host_addresses(&shown) {
                let name = format!("the server of {region} by {ip}");
                targets.push(json!({"Name": name, "Ip": ip, "Ports": SERVER_PORTS}));
            }
        }
        for app in ["beside", "foreign"] {
            let path = format!("/v1/apps/{app}/ip_assignments");
            let flycast = self.post(&path, json!({"type": "private_v6"}));
            let name = format!("Flycast address of {app}");
            targets.push(json!({"Name": name, "Ip": flycast["ip"], "Ports": [80]}));
        }
        targets
    }

    /// Lets the attacker of a server work on targets; its friend is the one on the other server.
    fn attack(&self, server: usize, targets: &[Value]) -> Vec<String> {
        let (near, far) = (&self.sides[server], &self.sides[1 - server]);
        let order = json!({
            "Token": self.token,
            "Port": PORT,
            "Targets": targets,
            "Friend": far.friend.ipv6,
            "Names": names_of(&far.victims[1]),
            "Sockets": [],
        });
        let path = format!("/v1/apps/stage/machines/{}/exec", near.attacker);
        found(&self.post(&path, attack(&order)))
    }

    fn heard(&self, ear: &Ear) -> BTreeSet<String> {
        heard(&self.get(&logs_of(ear)))
    }

    /// Runs `nft` on a server; TABLE in its words is the table of the daemon there.
    fn nft(&self, server: usize, words: &str) {
        let listed = self
            .fleet
            .run_on(server, "nft", &["list", "tables"])
            .unwrap();
        let table = listed
            .split_whitespace()
            .find(|word| word.starts_with("mayfly_"))
            .unwrap();
        let words = words.replace("TABLE", table);
        let words: Vec<&str> = words.split(' ').collect();
        self.fleet.run_on(server, "nft", &words).unwrap();
    }

    fn get(&self, path: &str) -> Value {
        self.ask(path, &[])
    }

    fn post(&self, path: &str, body: Value) -> Value {
        self.ask(path, &["-d", &body.to_string()])
    }

    /// Asks the API of the first server.
    #[track_caller]
    fn ask(&self, path: &str, more: &[&str]) -> Value {
        let bearer = format!("authorization: Bearer {}", self.fleet.token());
        let url = format!("http://127.0.0.1:4280{path}");
        let mut words = vec!["-sS", "--fail-with-body", "-m", "90", "-H", &bearer];
        words.extend(["-H", "content-type: application/json"]);
        words.extend(more);
        words.push(&url);
        let answer = self.fleet.run_on(0, "curl", &words);
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }
}

#[test]
fn nothing_gets_across_servers_into_another_network() {
    let field = Field::set();
    let targets = field.targets();
    for (server, region) in REGIONS.iter().enumerate() {
        let found = field.attack(server, &targets);
        assert_eq!(found, Vec::<String>::new(), "seen from {region}");
    }
    for side in &field.sides {
        for victim in &side.victims {
            assert_eq!(field.heard(victim), BTreeSet::new(), "{}", victim.app);
        }
        assert_eq!(side.host.heard(), Vec::<String>::new(), "a server");
    }

    // Into the own network the same attempts go through the tunnel, unless they forge their source.
    for server in 0..REGIONS.len() {
        let friend = &field.sides[1 - server].friend;
        let target = json!({"Name": "friend", "Ip": friend.ipv6, "Ports": []});
        field.attack(server, &[target]);
        for probe in ALLOWED {
            wait_until(&format!("the friend hears: {probe}"), || {
                field.heard(friend).contains(probe)
            });
        }
        let forged = forged(field.heard(friend));
        assert_eq!(forged, Vec::<String>::new(), "forged sources");
    }
}

/// What the suite above finds when one wall is missing, and when all are.
#[test]
fn without_its_walls_servers_are_open_to_each_other() {
    let field = Field::set();
    let targets = field.targets();

    field.nft(0, "flush set inet TABLE servers4");
    let found = field.attack(0, &targets);
    let door = "the server of ams by 10.99.0.2 connection to port 4290";
    assert!(found.iter().any(|line| line.ends_with(door)), "{found:?}");
    let tunnel = "10.99.0.2 datagram (datagram from 10.99.0.1";
    wait_for("the other server is reached", || {
        let heard = field.sides[1].host.heard();
        heard.iter().any(|line| line.contains(tunnel)).then_some(())
    });
    for victim in &field.sides[1].victims {
        assert_eq!(field.heard(victim), BTreeSet::new(), "{}", victim.app);
    }

    for server in 0..REGIONS.len() {
        field.nft(server, "delete table inet TABLE");
    }
    let found = field.attack(0, &targets);
    let echo = "echo answered: private address of foreign in ams";
    assert!(found.iter().any(|line| line.contains(echo)), "{found:?}");
    for victim in &field.sides[1].victims {
        for probe in ["protocol 47", "echo from the true one", "fragments"] {
            let name = format!("private address of {} in ams {probe}", victim.app);
            wait_until(&format!("a victim hears: {name}"), || {
                field.heard(victim).contains(&name)
            });
        }
    }
}

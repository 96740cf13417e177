//! What machines find by name, asked from inside.

use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use mayfly_conformance::{Stage, inside};
use mayfly_testing::wait_until;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// The addresses or texts that `nslookup` in the machine prints for a name; empty if there is none.
fn look_up(stage: &Stage, machine: &str, kind: &str, name: &str) -> Vec<String> {
    let answer = stage.exec(machine, &format!("nslookup -type={kind} {name} 2>&1"));
    let lines = answer.stdout.lines().skip_while(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let address = line.strip_prefix("Address: ");
            let text = line.split_once("text = ").map(|(_, text)| text);
            Some(address.or(text)?.trim_matches('"').to_owned())
        })
        .collect()
}

#[test]
fn machines_find_each_other_within_their_network() {
    let mut stage = Stage::set();
    let mut worker = Stage::sleeper();
    worker["metadata"] = json!({"fly_process_group": "worker"});
    let (one, two) = (stage.start(Stage::sleeper()), stage.start(worker));
    let address = |stage: &Stage, id: &str| {
        let ip = stage.get(id)["private_ip"].as_str().unwrap().to_owned();
        ip.parse::<Ipv6Addr>().unwrap().to_string()
    };
    let (ip_one, ip_two) = (address(&stage, &one), address(&stage, &two));
    assert_eq!(
        stage.shell(&one, "cat /etc/resolv.conf"),
        "nameserver fdaa::3"
    );
    for (name, expected) in [
        ("stage.internal".to_owned(), vec![&ip_one, &ip_two]),
        ("iad.stage.internal".to_owned(), vec![&ip_one, &ip_two]),
        (format!("{two}.vm.stage.internal"), vec![&ip_two]),
        ("worker.process.stage.internal".to_owned(), vec![&ip_two]),
        ("web.process.stage.internal".to_owned(), vec![]),
        ("nobody.internal".to_owned(), vec![]),
    ] {
        let mut expected: Vec<String> = expected.into_iter().cloned().collect();
        expected.sort();
        wait_until(&format!("{name} has {expected:?}"), || {
            let mut found = look_up(&stage, &one, "aaaa", &name);
            found.sort();
            found == expected
        });
    }
    let nearest = look_up(&stage, &one, "aaaa", "top1.nearest.of.stage.internal");
    assert_eq!(nearest.len(), 1);
    assert_eq!(
        look_up(&stage, &one, "txt", "_apps.internal"),
        ["stage"],
        "all apps of the organization"
    );

    // A stopped machine has no name, and gets it back.
    stage.act(&two, "stop", json!({}));
    stage.wait(&two, "stopped");
    let name = format!("{two}.vm.stage.internal");
    wait_until("its name is gone", || {
        look_up(&stage, &one, "aaaa", &name).is_empty()
    });
    stage.act(&two, "start", json!({}));
    wait_until("its name is back", || {
        look_up(&stage, &one, "aaaa", &name) == [ip_two.clone()]
    });

    // Another organization sees neither the app nor its addresses.
    stage
        .cloud
        .post("/v1/orgs", json!({"name": "Others", "slug": "others"}))
        .expect(201);
    stage.create_app("foreign", "others");
    stage.app = "foreign".to_owned();
    let foreigner = stage.start(Stage::sleeper());
    let own = look_up(&stage, &foreigner, "aaaa", "foreign.internal");
    assert_eq!(own, [address(&stage, &foreigner)]);
    assert!(look_up(&stage, &foreigner, "aaaa", "stage.internal").is_empty());
    assert_eq!(
        look_up(&stage, &foreigner, "txt", "_apps.internal"),
        ["foreign"]
    );
}

/// Milliseconds since the epoch, as the events of machines are dated.
fn now() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

#[test]
fn names_follow_machines_within_a_tenth_of_a_second() {
    const ROUNDS: usize = 7;
    let stage = Stage::set();
    let (asker, other) = (stage.start(Stage::sleeper()), stage.start(Stage::sleeper()));
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [other.as_str(), "vm", "stage", "internal", ""] {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.bytes());
    }
    question.extend([0, 28, 0, 1]);
    // Asks without a pause until the number of answers is the wanted one; when that was.
    let answered_at = |wanted: u8| {
        inside(&stage.network_of(&asker), || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            socket.connect("[fdaa::3]:53").unwrap();
            let mut answer = [0; 512];
            loop {
                socket.send(&question).unwrap();
                socket.recv(&mut answer).unwrap();
                if answer[7] == wanted {
                    return now();
                }
            }
        })
    };
    answered_at(1);
    let mut delays = Vec::new();
    for _ in 0..ROUNDS {
        for (action, kind, wanted) in [("stop", "exit", 0), ("start", "start", 1)] {
            let at = std::thread::scope(|scope| {
                let seen = scope.spawn(|| answered_at(wanted));
                stage.act(&other, action, json!({}));
                seen.join().unwrap()
            });
            stage.wait(&other, if wanted == 0 { "stopped" } else { "started" });
            let events = stage.events(&other, kind);
            let happened = events
                .iter()
                .filter(|event| kind == "exit" || event["status"] == "started")
                .filter_map(|event| event["timestamp"].as_i64())
                .max()
                .unwrap();
            delays.push(at - happened);
        }
    }
    delays.sort_unstable();
    println!("from the event to the answer, in ms: {delays:?}");
    assert!(delays[delays.len() / 2] <= 100, "{delays:?}");
}

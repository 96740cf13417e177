//! A step of a build has rights that other programs of machines have not; none of them reaches out of its machine.

use std::fs;

use mayfly_conformance::Stage;
use serde_json::json;

use super::{Project, builder};

/// What steps try. Each says `reached` if it got where it must not get; the last words say that all were tried.
const ATTEMPTS: [&str; 14] = [
    // the host's disks, by node and by number
    "mknod disk b 254 0 && head -c 1 disk",
    "mkdir -p m && mknod loop b 7 0 && mount -t ext4 loop m",
    "for disk in /dev/vda /dev/sda /dev/nvme0n1 /dev/loop0 /dev/mem /dev/kmsg; do [ -e $disk ] && break; false; done",
    // the kernel's own files, as they are on the host
    "mkdir -p p && mount -t proc proc p && ls p/1/root/",
    "mkdir -p s && mount -t sysfs sysfs s && ls s/block/",
    "mkdir -p c && mount -t cgroup2 none c && ls c/cgroup.procs",
    "umount /proc/kcore && head -c 1 /proc/kcore",
    "mount -o remount,rw /proc/sys && echo 1 >/proc/sys/vm/drop_caches",
    "echo 1 >/proc/sys/vm/drop_caches",
    "echo c >/proc/sysrq-trigger",
    // other processes, namespaces and users
    "ls /proc/1/root/etc/",
    "unshare -U true",
    "unshare -n true",
    "chroot /proc/1/root /bin/sh -c true",
];

#[test]
fn a_step_reaches_neither_host_nor_neighbours() {
    let stage = Stage::set();
    stage.import_builder();
    let stranger = stage.start(json!({
        "image": "hello:latest",
        "env": { "PORT": "8080" },
    }));
    let machine = stage.get(&stranger);
    let neighbour = machine["private_ip"].as_str().unwrap();
    let secret = stage.cloud.data_dir().join("admin-token");
    assert!(fs::metadata(&secret).is_ok());

    let mut script = String::from("#!/bin/sh\nexport PATH=/bin\n");
    for attempt in ATTEMPTS {
        script.push_str(&format!(
            "( {attempt} ) >/dev/null 2>&1 && echo 'reached: {attempt}'\n"
        ));
    }
    let api = stage.cloud.api().port();
    let edge = stage.cloud.edge().port();
    for (host, port) in [
        ("127.0.0.1".to_owned(), api),
        ("127.0.0.1".to_owned(), edge),
        (
            "$(ip route | sed -n 's/.*via \\([0-9.]*\\).*/\\1/p' | head -n 1)".to_owned(),
            api,
        ),
        (neighbour.to_owned(), 8080),
    ] {
        script.push_str(&format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 4 nc -w 2 {host} {port} 2>/dev/null | grep -q HTTP && echo 'reached: {host} {port}'\n"
        ));
    }
    // Whoever gets out of the step's root is in the machine, not on the host.
    script.push_str(&format!(
        "[ -e {} ] && echo 'reached: a path of the host'\n",
        secret.display()
    ));
    script.push_str("cat /proc/self/uid_map; echo 'all tried'\n");
    let project = Project::of_app(&stage, "mole", "COPY try /try\nRUN sh /try\n");
    project.write("try", &script);
    let said = project.build(&[]);
    assert!(said.contains("all tried"), "{said}");
    let reached: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("reached"))
        .collect();
    assert!(reached.is_empty(), "{reached:#?}");

    // In the builder itself, beside the step's root: root there is nobody here.
    let (app, id) = builder(&stage);
    let inside = |line: &str| {
        let body = json!({ "command": ["/bin/sh", "-c", line] });
        let path = format!("/v1/apps/{app}/machines/{id}/exec");
        stage.cloud.post(&path, body).ok()
    };
    let map = inside("cat /proc/self/uid_map");
    let map = map["stdout"]
        .as_str()
        .unwrap()
        .split_whitespace()
        .map(str::to_owned);
    let map: Vec<u64> = map.map(|number| number.parse().unwrap()).collect();
    assert!(map[1] >= 0x1000_0000 && map[2] == 65_536, "{map:?}");
    for attempt in ATTEMPTS {
        let tried = inside(&format!("cd $(mktemp -d) && ( {attempt} )"));
        assert_ne!(tried["exit_code"], 0, "`{attempt}` was allowed: {tried}");
    }

    // Nobody asks for these rights by the API.
    for field in ["rights", "sandbox"] {
        let config = json!({ "image": "hello:latest", field: "builder" });
        let made = stage.cloud.try_call(
            mayfly_testing::Method::Post,
            "/v1/apps/stage/machines",
            &json!({ "config": config }),
        );
        assert_eq!(made.unwrap().status, 400, "{field}");
    }
}

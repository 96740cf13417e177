//! Machines do not see the host, and machines of different organizations do not see each other.

use mayfly_conformance::Stage;
use serde_json::json;

#[test]
fn a_machine_sees_only_itself() {
    let stage = Stage::set();
    let id = stage.start(json!({
        "image": "hello:latest",
        "processes": [{"exec": ["/bin/sleep", "inf"], "user": "root"}],
    }));
    let as_root = |line: &str| stage.exec(&id, line);
    // Own process ids: only ours, and the first is the init.
    let count = stage.shell(&id, "ls -d /proc/[0-9]* | wc -l");
    assert!(
        count.trim().parse::<u32>().unwrap() < 10,
        "{count} processes"
    );
    // No path of the host in the list of mounts' sources, no device of the host.
    let mounts = stage.shell(&id, "cat /proc/mounts");
    assert!(
        !mounts.contains("/var/lib") && !mounts.contains("mayfly-test-"),
        "{mounts}"
    );
    assert_ne!(
        as_root("ls /dev/vda /dev/sda /dev/nvme0 /dev/kmsg /dev/mem").code,
        0
    );
    let devices = stage.shell(&id, "ls /dev");
    assert!(
        devices.contains("null") && !devices.contains("loop-control"),
        "{devices}"
    );
    // Kernel settings are read only or hidden.
    for refused in [
        "echo 1 >/proc/sys/vm/drop_caches",
        "echo c >/proc/sysrq-trigger",
        "echo x >/sys/power/state",
        "mount -t tmpfs none /mnt",
        "mknod /tmp/disk b 254 0",
        "hostname other",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "chroot /proc/1/root /bin/true && ls /proc/1/root/work",
        "swapoff -a",
    ] {
        assert_ne!(as_root(refused).code, 0, "`{refused}` was allowed");
    }
    let bounding = stage.shell(
        &id,
        "grep CapBnd /proc/1/status; grep CapEff /proc/self/status",
    );
    assert!(!bounding.contains("1ffffffffff"), "{bounding}");
    let seccomp = stage.shell(&id, "grep '^Seccomp:' /proc/self/status");
    assert!(seccomp.ends_with('2'), "{seccomp}");
}

/// A request by hand: the static busybox's `wget` crashes where no resolver library is installed.
fn request_to(address: &str, port: u16) -> String {
    format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc -w 2 {address} {port}")
}

#[test]
fn organizations_do_not_reach_each_other() {
    let mut stage = Stage::set();
    stage
        .cloud
        .post("/v1/orgs", json!({"name": "Other", "slug": "other"}))
        .ok();
    stage.create_app("theirs", "other");
    let server = || {
        json!({
            "image": "hello:latest",
            "env": {"PORT": "8080"},
        })
    };
    let first = stage.start(server());
    let friend = stage.start(server());
    stage.app = "theirs".to_owned();
    let stranger = stage.start(server());
    let address =
        |stage: &Stage, id: &str| stage.get(id)["private_ip"].as_str().unwrap().to_owned();
    let stranger_ip = address(&stage, &stranger);
    let stranger_ipv4 = stage.shell(
        &stranger,
        "ip -4 -o addr show scope global | tr -s ' ' | cut -d' ' -f4 | cut -d/ -f1",
    );
    stage.app = "stage".to_owned();
    let friend_ip = address(&stage, &friend);
    let fetch = |from: &str, to: &str| stage.exec(from, &request_to(to, 8080));
    let friendly = fetch(&first, &friend_ip);
    assert!(
        friendly.stdout.contains("Hello"),
        "the same network: {friendly:?}"
    );
    let strange = fetch(&first, &stranger_ip);
    assert_eq!(
        strange.stdout, "",
        "another organization by IPv6: {strange:?}"
    );
    if !stranger_ipv4.is_empty() {
        let strange = fetch(&first, &stranger_ipv4);
        assert_eq!(
            strange.stdout, "",
            "another organization by IPv4: {strange:?}"
        );
    }
    // The host's own API and edge are out of reach, too.
    let api = stage.cloud.api().port();
    let gateways = stage.shell(
        &first,
        "ip route | sed -n 's/.*via \\([0-9.]*\\).*/\\1/p' | sort -u",
    );
    for gateway in gateways.lines().chain(["127.0.0.1"]) {
        let reached = stage.exec(&first, &request_to(gateway, api));
        assert_eq!(reached.stdout, "", "the host by {gateway}: {reached:?}");
    }
}

#[test]
fn tokens_are_needed_and_errors_do_not_tell() {
    let stage = Stage::set();
    let bare = |path: &str| {
        mayfly_testing::send(
            stage.cloud.api(),
            mayfly_testing::Method::Get,
            path,
            &[],
            &[],
        )
        .unwrap()
    };
    assert_eq!(bare("/healthz").status, 200);
    for path in [
        "/v1/apps?org_slug=personal",
        "/v1/apps/stage",
        "/v1/events?after=0",
        "/v1/images",
    ] {
        let answer = bare(path);
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(stage.cloud.get("/v1/apps/nobody").status, 404);
}

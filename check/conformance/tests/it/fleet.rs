//! Several servers as one cloud: network namespaces with a daemon each.

use mayfly_conformance::{hello_archive, write_probe_archive};
use mayfly_testing::{TestFleet, wait_for, wait_until};
use serde_json::Value;

const CONFIG: &str = "[fleet]\nhost_patience = \"3s\"\n";

/// Answers with its region, or sends requests from elsewhere there.
const REPLAYER: &str = r#"mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/index.cgi <<'X'
#!/bin/sh
[ "$FLY_REGION" = ams ] || printf 'fly-replay: region=ams\r\n'
printf 'Content-Type: text/plain\r\n\r\nby %s' "$FLY_REGION"
X
chmod 755 /tmp/www/cgi-bin/index.cgi
exec httpd -f -p 0.0.0.0:8080 -h /tmp/www"#;

fn fleet(regions: &[&str]) -> TestFleet {
    let fleet = TestFleet::start(regions, CONFIG);
    let archive = hello_archive().to_string_lossy().into_owned();
    fleet.must(&["image", "import", &archive, "--name", "hello:latest"]);
    fleet
}

fn run(fleet: &TestFleet, app: &str, region: &str, more: &[&str]) {
    let mut arguments = vec![
        "machine",
        "run",
        "hello:latest",
        "--app",
        app,
        "--region",
        region,
        "--port",
        "80:8080/tcp:http",
    ];
    arguments.extend(more);
    fleet.must(&arguments);
}

fn machines(fleet: &TestFleet, app: &str) -> Vec<Value> {
    let list = fleet.json(&["machine", "list", "--app", app, "--json"]);
    list.as_array().cloned().unwrap_or_default()
}

fn id_in(fleet: &TestFleet, app: &str, region: &str) -> String {
    let all = machines(fleet, app);
    let found = all.iter().find(|machine| machine["region"] == region);
    let id = found.and_then(|machine| machine["id"].as_str());
    id.unwrap_or_else(|| panic!("no machine of {app} in {region}: {all:?}"))
        .to_owned()
}

/// What a program of `app` reads at port 8080 of `host` from inside a machine.
fn fetch(fleet: &TestFleet, app: &str, machine: &str, host: &str) -> Result<String, String> {
    // The image's wget cannot resolve names: it is linked statically.
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 4 {host} 8080");
    exec(fleet, app, machine, &format!("sh -c \"{script}\""))
}

fn exec(fleet: &TestFleet, app: &str, machine: &str, command: &str) -> Result<String, String> {
    fleet.mayfly(&["machine", "exec", machine, command, "--app", app])
}

fn hosts(fleet: &TestFleet) -> Vec<Value> {
    let list = fleet.json(&["hosts", "list", "--json"]);
    list.as_array().cloned().unwrap_or_default()
}

fn state_of(fleet: &TestFleet, region: &str) -> String {
    let all = hosts(fleet);
    let found = all.iter().find(|host| host["region"] == region);
    found.map_or_else(String::new, |host| {
        host["state"].as_str().unwrap_or_default().to_owned()
    })
}

/// At its own door, and at `_api.internal` with a token, a machine of a joined server has what others have.
fn machines_of_any_server_reach_the_api(fleet: &TestFleet, neighbour: &str) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("probe.tar");
    write_probe_archive(&archive);
    let archive = archive.to_string_lossy().into_owned();
    fleet.must(&["image", "import", &archive, "--name", "probe:latest"]);
    fleet.must(&["apps", "create", "inside"]);
    let words = "machine run probe:latest --app inside --region ams /bin/sleep inf";
    fleet.must(&words.split(' ').collect::<Vec<_>>());
    let own = id_in(fleet, "inside", "ams");
    let ask = |target: &str, request: &str| {
        let command = format!("/bin/netprobe ask {target} {request}");
        exec(fleet, "inside", &own, &command).unwrap_or_else(|error| error)
    };
    let path = format!("/v1/apps/inside/machines/{own}");
    let shown = ask("/.fly/api", &format!("GET {path}"));
    assert!(
        shown.starts_with("200\n") && shown.contains(&own),
        "{shown}"
    );
    let token = ask("/.fly/api", "POST /v1/tokens/oidc {}");
    assert!(token.starts_with("200\n"), "{token}");
    let other = ask(
        "/.fly/api",
        &format!("GET /v1/apps/web/machines/{neighbour}"),
    );
    assert!(
        other.starts_with("403\n") || other.starts_with("404\n"),
        "{other}"
    );
    let api = "_api.internal:4280";
    let refused = ask(api, &format!("GET {path}"));
    assert!(refused.starts_with("401\n"), "{refused}");
    let by_token = format!("GET {path} '' {}", fleet.token());
    for target in ["/.fly/api", api] {
        let granted = ask(target, &by_token);
        assert!(
            granted.starts_with("200\n") && granted.contains(&own),
            "{target}: {granted}"
        );
    }
    fleet.must(&["machine", "destroy", &own, "--app", "inside", "--force"]);
}

#[test]
fn two_servers_are_one_cloud() {
    let mut fleet = fleet(&["fra", "ams"]);
    assert_eq!(hosts(&fleet).len(), 2);
    fleet.must(&["apps", "create", "web"]);
    run(&fleet, "web", "fra", &[]);
    run(&fleet, "web", "ams", &[]);
    let (near, far) = (id_in(&fleet, "web", "fra"), id_in(&fleet, "web", "ams"));

    // Commands, logs and names go to wherever the machine is.
    assert!(
        exec(&fleet, "web", &far, "hostname")
            .unwrap()
            .contains(&far)
    );
    wait_until("both machines' lines arrive", || {
        let logs = fleet.must(&["logs", "--app", "web", "--no-tail"]);
        logs.contains(&near) && logs.contains(&far) && logs.contains("hello listens")
    });

    // Machine to machine across the tunnel, by name, both ways.
    for (from, to) in [(&near, &far), (&far, &near)] {
        let name = format!("{to}.vm.web.internal");
        let answer = wait_for("a machine reaches one of the other server", || {
            let answer = fetch(&fleet, "web", from, &name).ok()?;
            answer.contains("Hello").then_some(answer)
        });
        assert!(answer.contains(to.as_str()), "{answer}");
    }

    machines_of_any_server_reach_the_api(&fleet, &near);

    // Another network does not get through, not even by address.
    fleet.must(&["apps", "create", "other", "--network", "own"]);
    run(&fleet, "other", "fra", &[]);
    let stranger = id_in(&fleet, "other", "fra");
    let address = machines(&fleet, "web")
        .iter()
        .find(|machine| machine["id"] == far.as_str())
        .and_then(|machine| machine["private_ip"].as_str().map(str::to_owned))
        .unwrap();
    let answer = fetch(&fleet, "other", &stranger, &address);
    assert!(!answer.is_ok_and(|text| text.contains("Hello")));

    // The edge of a server answers for apps that live on the other, and wakes them.
    fleet.must(&["apps", "create", "solo"]);
    run(&fleet, "solo", "ams", &["--autostart"]);
    let solo = id_in(&fleet, "solo", "ams");
    wait_until("the first server's edge serves the second's app", || {
        fleet
            .visit(0, "solo", "/")
            .is_ok_and(|body| body.contains(&solo))
    });
    fleet.must(&[
        "machine",
        "stop",
        &solo,
        "--app",
        "solo",
        "--wait-timeout",
        "30s",
    ]);
    wait_until("a request wakes a machine of the other server", || {
        fleet
            .visit(0, "solo", "/")
            .is_ok_and(|body| body.contains(&solo))
    });

    // What a machine here sends elsewhere is answered there.
    fleet.must(&["apps", "create", "replay"]);
    for region in ["fra", "ams"] {
        run(
            &fleet,
            "replay",
            region,
            &["--entrypoint", "/bin/sh -c", REPLAYER],
        );
    }
    wait_until("a request is replayed on the other server", || {
        fleet
            .visit(0, "replay", "/")
            .is_ok_and(|body| body == "by ams")
    });

    // A pulled cable is noticed, and everything goes on when it is back.
    fleet.cut(1);
    wait_until("the host is said to be unreachable", || {
        state_of(&fleet, "ams") == "unreachable"
    });
    assert!(
        fleet
            .visit(0, "web", "/")
            .is_ok_and(|body| body.contains(&near))
    );
    let refusal = fleet
        .mayfly(&["machine", "stop", &far, "--app", "web"])
        .unwrap_err();
    assert!(refusal.contains("not reachable"), "{refusal}");
    fleet.mend(1);
    wait_until("the host is said to be reachable", || {
        state_of(&fleet, "ams") == "reachable"
    });
    wait_until("the tunnel has healed", || {
        let answer = fetch(&fleet, "web", &near, &format!("{far}.vm.web.internal"));
        answer.is_ok_and(|text| text.contains("Hello"))
    });

    // Killing the daemon of a joined server loses nothing.
    let pid = |fleet: &TestFleet| exec(fleet, "web", &far, "cat /proc/1/stat").unwrap();
    let before = pid(&fleet);
    fleet.kill_daemon(1);
    fleet.start_daemon(1);
    wait_until("the joined server answers again", || {
        exec(&fleet, "web", &far, "true").is_ok()
    });
    let start = |stat: &str| stat.split(' ').nth(21).map(str::to_owned);
    assert_eq!(start(&before), start(&pid(&fleet)), "the machine runs on");

    // With the control plane away, edges, wake-ups and names of the others go on.
    fleet.must(&[
        "machine",
        "stop",
        &solo,
        "--app",
        "solo",
        "--wait-timeout",
        "30s",
    ]);
    fleet.kill_daemon(0);
    wait_until("a request wakes a machine without a control plane", || {
        fleet
            .visit(1, "solo", "/")
            .is_ok_and(|body| body.contains(&solo))
    });
    fleet.start_daemon(0);
    wait_until("the host is heard again", || {
        state_of(&fleet, "ams") == "reachable"
    });

    // A removed host disappears everywhere, and destroys what it has.
    let ams = hosts(&fleet);
    let ams = ams.iter().find(|host| host["region"] == "ams").unwrap();
    let ams = ams["id"].as_str().unwrap().to_owned();
    let refusal = fleet
        .mayfly(&["hosts", "remove", &ams, "--yes"])
        .unwrap_err();
    assert!(refusal.contains("force"), "{refusal}");
    fleet.must(&["hosts", "remove", &ams, "--yes", "--force"]);
    assert_eq!(hosts(&fleet).len(), 1);
    assert_eq!(machines(&fleet, "solo"), Vec::<Value>::new());
    wait_until("its machines are in no name and no route", || {
        let lookup = format!("nslookup {far}.vm.web.internal fdaa::3");
        exec(&fleet, "web", &near, &lookup).is_err() && fleet.visit(0, "solo", "/").is_err()
    });
    wait_until("the removed server knows", || {
        fleet.log(1).contains("removed from the fleet")
    });
}

#[test]
fn three_servers_spread_and_stand_in() {
    let mut fleet = fleet(&["fra", "ams", "ams"]);
    fleet.must(&["apps", "create", "web"]);
    run(&fleet, "web", "ams", &[]);
    run(&fleet, "web", "ams", &[]);
    let per_host = |fleet: &TestFleet| {
        let counts = hosts(fleet);
        let ams = counts.iter().filter(|host| host["region"] == "ams");
        ams.map(|host| host["machines"].as_u64().unwrap_or(0))
            .collect::<Vec<u64>>()
    };
    assert_eq!(
        per_host(&fleet),
        [1, 1],
        "spread over the hosts of the region"
    );

    // A standby of a worker on the host that fails.
    let ids: Vec<String> = hosts(&fleet)
        .iter()
        .map(|host| host["id"].as_str().unwrap().to_owned())
        .collect();
    fleet.must(&["apps", "create", "work"]);
    fleet.must(&["hosts", "cordon", &ids[2]]);
    fleet.must(&[
        "machine",
        "run",
        "hello:latest",
        "--app",
        "work",
        "--region",
        "ams",
    ]);
    let primary = id_in(&fleet, "work", "ams");
    fleet.must(&["hosts", "uncordon", &ids[2]]);
    fleet.must(&[
        "machine",
        "run",
        "hello:latest",
        "--app",
        "work",
        "--region",
        "fra",
        "--standby-for",
        &primary,
    ]);
    let standby = id_in(&fleet, "work", "fra");
    let state = |fleet: &TestFleet, id: &str| {
        let all = machines(fleet, "work");
        let found = all.iter().find(|machine| machine["id"] == id);
        found.and_then(|machine| machine["state"].as_str().map(str::to_owned))
    };
    fleet.cut(1);
    wait_until("the standby stands in", || {
        state(&fleet, &standby).as_deref() == Some("started")
    });
    fleet.mend(1);
    wait_until("the standby rests when the primary is back", || {
        state(&fleet, &standby).as_deref() == Some("stopped")
    });
    assert_eq!(state(&fleet, &primary).as_deref(), Some("started"));

    // The first host of the region is emptied, also when the control plane dies on the way; its apps answer all along.
    fleet.must(&["hosts", "drain", &ids[1], "--detach"]);
    fleet.kill_daemon(0);
    fleet.start_daemon(0);
    wait_until("the first server serves again", || {
        fleet.visit(0, "web", "/").is_ok()
    });
    let told = std::thread::scope(|scope| {
        let draining = scope.spawn(|| fleet.must(&["hosts", "drain", &ids[1]]));
        while !draining.is_finished() {
            let answer = fleet.visit(0, "web", "/");
            assert!(answer.is_ok(), "while a host is emptied: {answer:?}");
        }
        draining.join().unwrap()
    });
    assert!(told.contains("is empty"), "{told}");
    for moved in [
        " of web was replaced by",
        &format!("{primary} of work was replaced by"),
    ] {
        assert!(told.contains(moved), "{told}");
    }
    assert_eq!(per_host(&fleet), [0, 3], "all on the other host");
    let heir = id_in(&fleet, "work", "ams");
    let stands_in = fleet.json(&["machine", "status", &standby, "--app", "work", "--json"]);
    assert!(stands_in.to_string().contains(&heir), "{heir}: {stands_in}");
    // Empty, it leaves without force.
    fleet.must(&["hosts", "remove", &ids[1], "--yes"]);
    fleet.kill_daemon(2);
}

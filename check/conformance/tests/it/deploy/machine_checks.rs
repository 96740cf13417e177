//! Machine checks: what a release has to pass in machines that test its own.

use super::{Shop, id};
use mayfly_testing::wait_until;

/// The image's entrypoint serves, whatever it is given: this one runs what it is given.
const APP: &str = r#"
[processes]
app = "/bin/start"
[experimental]
entrypoint = ["/bin/env"]
[http_service]
internal_port = 8080
processes = ["app"]
"#;

/// A service's check that visits the new machine; `then` follows its visit.
fn check(then: &str) -> String {
    let script = format!("wget -q -O - http://[$FLY_TEST_MACHINE_IP]:8080/ && {then}");
    format!("[[http_service.machine_checks]]\ncommand = ['/bin/sh', '-c', '{script}']\n")
}

#[test]
fn a_test_machine_is_as_its_check_says() {
    let shop = Shop::open();
    shop.stage.import_probe();
    // Only the other image has this program, and only its own entrypoint makes one text of it.
    let check = r#"
[[http_service.machine_checks]]
image = "probe:latest"
entrypoint = ["/bin/sh", "-c"]
command = ["test -x /bin/netprobe && test $FLY_TEST_COMMAND = 1 && test $COLOUR = red"]
kill_signal = "SIGUSR2"
kill_timeout = "7s"
"#;
    shop.write(&format!("[env]\nCOLOUR = \"red\"\n{APP}{check}"));
    shop.deploy(&["--ha=false"]).ok();
    let path = shop.stage.path("?include_deleted=true");
    let all = shop.stage.cloud.get(&path).expect(200);
    let group = "fly_app_test_machine_command";
    let mut tests = all.as_array().unwrap().iter();
    let test = tests
        .find(|machine| machine["config"]["metadata"]["fly_process_group"] == group)
        .unwrap_or_else(|| panic!("{all}"));
    let config = &test["config"];
    assert!(
        config["image"].as_str().unwrap().contains("probe"),
        "{config}"
    );
    assert_eq!(config["stop_config"]["signal"], "SIGUSR2", "{config}");
    assert_eq!(config["stop_config"]["timeout"], "7s", "{config}");
    assert_eq!(
        config["init"]["entrypoint"],
        serde_json::json!(["/bin/sh", "-c"]),
        "{config}"
    );
    assert!(
        config["services"].as_array().is_none_or(Vec::is_empty),
        "{config}"
    );

    // Values that mean nothing are refused before anything changes.
    for (key, why) in [
        ("kill_signal = \"SIGNOTHING\"", "kill_signal"),
        ("kill_timeout = \"soon\"", "kill_timeout"),
    ] {
        shop.write(&format!(
            "{APP}[[http_service.machine_checks]]\ncommand = [\"/bin/true\"]\n{key}\n"
        ));
        let refused = shop.deploy(&[]);
        assert!(refused.refused().contains(why), "{key}: {refused:?}");
    }
}

#[test]
fn a_release_goes_on_only_where_its_tests_pass() {
    let shop = Shop::open();
    shop.write(&format!("[env]\nROUND = \"1\"\n{APP}{}", check("true")));
    let passed = shop.deploy(&[]);
    let said = format!("{}{}", passed.ok(), passed.stderr);
    assert_eq!(said.matches("Test machine for").count(), 2, "{said}");
    let no_tests_left = || {
        wait_until("the test machines are gone", || {
            shop.machines("fly_app_test_machine_command").is_empty()
        });
    };
    no_tests_left();
    let before = shop.machines("app");
    assert_eq!(before.len(), 2);

    // Before traffic moves: the old machines stay as they were.
    let bad = check("echo it is not as it should be && exit 7");
    shop.write(&format!("[env]\nROUND = \"2\"\n{APP}{bad}"));
    let failed = shop.deploy(&["--strategy", "bluegreen"]);
    let why = failed.refused();
    assert!(why.contains("exited with code 7"), "{why}");
    assert!(why.contains("it is not as it should be"), "{why}");
    assert_eq!(shop.newest()["status"], "failed");
    wait_until("only the old machines are there", || {
        let after = shop.machines("app");
        after.iter().map(id).eq(before.iter().map(id))
    });
    for machine in &shop.machines("app") {
        assert_eq!(shop.env(id(machine), "ROUND"), "1");
    }

    // One that does not end is ended, and the roll does not reach the second machine.
    shop.write(&format!(
        "[env]\nROUND = \"3\"\n{APP}{}",
        check("sleep 600")
    ));
    let failed = shop.deploy(&["--wait-timeout", "15"]);
    let why = failed.refused();
    assert!(why.contains("did not end within 15 s"), "{why}");
    let mut rounds: Vec<String> = shop
        .machines("app")
        .iter()
        .map(|machine| shop.env(id(machine), "ROUND"))
        .collect();
    rounds.sort();
    assert_eq!(rounds, ["1", "3"]);
    no_tests_left();
}

#[test]
fn a_test_that_takes_too_long_is_ended_as_it_asks() {
    let shop = Shop::open();
    let tests = |script: &str, signal: &str, timeout: &str| {
        shop.write(&format!(
            "{APP}[[http_service.machine_checks]]\ncommand = ['/bin/sh', '-c', '{script}']\n\
             kill_signal = \"{signal}\"\nkill_timeout = \"{timeout}\"\n"
        ));
        let failed = shop.deploy(&["--ha=false", "--wait-timeout", "8"]);
        let why = failed.refused().to_owned();
        assert!(why.contains("did not end within 8 s"), "{why}");
        let all = shop
            .stage
            .cloud
            .get(&shop.stage.path("?include_deleted=true"))
            .expect(200);
        let all = all.as_array().unwrap().clone();
        let test = all
            .iter()
            .filter(|machine| {
                machine["config"]["metadata"]["fly_process_group"] == "fly_app_test_machine_command"
            })
            .max_by_key(|machine| machine["created_at"].as_str().unwrap().to_owned());
        (why, id(test.unwrap()).to_owned())
    };
    let loops = "while true; do sleep 0.2; done";
    let (why, _) = tests(
        &format!("trap \"echo goodbye; exit 0\" USR2; {loops}"),
        "SIGUSR2",
        "60s",
    );
    assert!(why.contains("goodbye"), "{why}");

    // One that does not listen has its own time, and no more.
    let (_, test) = tests(&format!("trap : USR1; {loops}"), "SIGUSR1", "3s");
    let when = |kind: &str| {
        let event = shop.stage.events(&test, kind).first().cloned();
        event.unwrap_or_else(|| panic!("no {kind}"))["timestamp"]
            .as_i64()
            .unwrap()
    };
    let took_ms = when("exit") - when("stop");
    assert!((3000..60_000).contains(&took_ms), "{took_ms}");
}

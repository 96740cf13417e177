//! What a machine is inside: environment, files, users, processes, containers, limits.

use mayfly_conformance::Stage;
use mayfly_testing::wait_until;
use serde_json::{Value, json};

fn sleeper_with(key: &str, value: Value) -> Value {
    let mut config = Stage::sleeper();
    config[key] = value;
    config
}

#[test]
fn the_documented_environment_is_there() {
    let stage = Stage::set();
    let id = stage.start(sleeper_with("env", json!({"MINE": "a b"})));
    let machine = stage.get(&id);
    // What the main process got, not what exec adds.
    let seen = stage.shell(&id, "tr '\\0' '\\n' </proc/$(pidof sleep)/environ");
    let variable = |name: &str| {
        let prefix = format!("{name}=");
        seen.lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{name} is missing in\n{seen}"))
    };
    assert_eq!(variable("MINE"), "a b");
    assert_eq!(variable("PORT"), "8080", "from the image");
    assert_eq!(variable("FLY_APP_NAME"), stage.app);
    assert_eq!(variable("FLY_MACHINE_ID"), id);
    assert_eq!(variable("FLY_ALLOC_ID"), id);
    assert_eq!(variable("FLY_REGION"), "iad");
    assert_eq!(
        variable("FLY_MACHINE_VERSION"),
        machine["instance_id"].as_str().unwrap()
    );
    assert_eq!(variable("FLY_VM_MEMORY_MB"), "256");
    assert!(variable("FLY_IMAGE_REF").contains("hello"));
    assert!(variable("FLY_PRIVATE_IP").starts_with("fdaa:"));
    let hosts = stage.shell(&id, "cat /etc/hosts");
    assert!(hosts.contains("fly-local-6pn"), "{hosts}");
    assert_eq!(stage.shell(&id, "hostname"), id);
}

#[test]
fn the_image_and_the_configuration_choose_the_user() {
    let stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    let of_sleep = |id: &str| stage.shell(id, "stat -c %U /proc/$(pidof sleep)");
    assert_eq!(of_sleep(&id), "hello");
    let as_root = stage.start(json!({
        "image": "hello:latest",
        "processes": [{"exec": ["/bin/sleep", "inf"], "user": "root"}],
    }));
    assert_eq!(of_sleep(&as_root), "root");
}

#[test]
fn files_are_in_place_before_the_first_process() {
    let stage = Stage::set();
    let mut config = Stage::script("cat /opt/deep/file; stat -c %a /opt/deep/file; sleep inf");
    config["files"] = json!([
        {"guest_path": "/opt/deep/file", "raw_value": "aGVsbG8K", "mode": 0o640},
        {"guest_path": "/etc/motd", "raw_value": "bW90ZA=="},
    ]);
    // The program is no root and may still read what root put there if the mode says so.
    config["files"][0]["mode"] = json!(0o644);
    let id = stage.start(config);
    stage.line_with(&id, "hello");
    stage.line_with(&id, "644");
    assert_eq!(stage.shell(&id, "cat /etc/motd"), "motd");
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let stage = Stage::set();
    let coded = stage.run_to_end(Stage::script("exit 42"));
    assert_eq!(stage.last_exit(&coded)["guest_exit_code"], 42);
    assert_eq!(stage.last_exit(&coded)["oom_killed"], false);
    let signalled = stage.run_to_end(Stage::script("kill -SEGV $$"));
    assert_eq!(stage.last_exit(&signalled)["guest_signal"], 11);
}

#[test]
fn a_program_that_is_not_there_fails_with_its_name() {
    let stage = Stage::set();
    let machine = stage.create(json!({
        "image": "hello:latest",
        "init": {"exec": ["/bin/nonesuch"]},
        "restart": {"policy": "no"},
    }));
    let id = machine["id"].as_str().unwrap();
    wait_until("the failure is told", || {
        stage.get(id).to_string().contains("nonesuch") && stage.state(id) != "starting"
    });
    wait_until("the log says so, too", || {
        let lines = stage.log_lines(id);
        lines.iter().any(|line| line.contains("nonesuch"))
    });
}

#[test]
fn too_much_memory_ends_a_machine_and_says_why() {
    let stage = Stage::set();
    // awk doubles a string until the limit of 256 MiB is met.
    let script = "awk 'BEGIN { text = \"x\"; while (1) text = text text }'";
    let id = stage.run_to_end(Stage::script(script));
    let exit = stage.last_exit(&id);
    assert_eq!(exit["oom_killed"], true, "{exit}");
}

#[test]
fn orphans_are_reaped() {
    let stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    stage.shell(
        &id,
        "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; sleep 0.2",
    );
    wait_until("no zombie is left", || {
        let states = stage.shell(
            &id,
            "cat /proc/[0-9]*/stat 2>/dev/null | cut -d' ' -f3; true",
        );
        !states.contains('Z')
    });
}

#[test]
fn several_processes_share_one_machine() {
    let stage = Stage::set();
    let id = stage.start(json!({
        "image": "hello:latest",
        "processes": [
            {"exec": ["/bin/sleep", "1001"], "env": {"ROLE": "first"}},
            {"exec": ["/bin/sleep", "1002"], "user": "root"},
        ],
    }));
    let listed = stage.shell(&id, "ps -o user,args");
    assert!(
        listed.contains("sleep 1001") && listed.contains("sleep 1002"),
        "{listed}"
    );
}

#[test]
fn containers_wait_for_each_other() {
    let stage = Stage::set();
    let id = stage.start(json!({
        "image": "hello:latest",
        "containers": [
            {"name": "app", "image": "hello:latest",
             "exec": ["/bin/sh", "-c", "echo app-after-$(cat /proc/1/comm >/dev/null && echo db); sleep inf"],
             "depends_on": [{"name": "db", "condition": "healthy"}]},
            {"name": "db", "image": "hello:latest",
             "exec": ["/bin/sh", "-c", "sleep 0.5; echo db-up; touch /tmp/up; sleep inf"],
             "healthchecks": [{"name": "up", "interval": 1, "timeout": 1, "grace_period": 0,
                 "exec": {"command": ["/bin/sh", "-c", "test -e /tmp/up"]}}]},
        ],
    }));
    let position = |lines: &[String], text: &str| lines.iter().position(|line| line == text);
    wait_until("both containers spoke", || {
        let lines = stage.log_lines(&id);
        position(&lines, "app-after-db").is_some() && position(&lines, "db-up").is_some()
    });
    let lines = stage.log_lines(&id);
    assert!(
        position(&lines, "db-up") < position(&lines, "app-after-db"),
        "{lines:?}"
    );
    let machine = stage.get(&id);
    let names: Vec<&str> = machine["containers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|container| container["name"].as_str())
        .collect();
    assert_eq!(names, ["app", "db"]);
    let in_db = stage.act(
        &id,
        "exec",
        json!({"command": ["/bin/sh", "-c", "test -e /tmp/up && echo there"], "container": "db"}),
    );
    assert_eq!(in_db["stdout"], "there\n");
}

#[test]
fn a_limited_root_is_full_when_it_says_so() {
    let stage = Stage::set();
    let id = stage.start(sleeper_with("rootfs", json!({"size_gb": 1})));
    let exec = stage.exec(&id, "dd if=/dev/zero of=/tmp/big bs=1M count=1200");
    assert_ne!(exec.code, 0, "1.2 GB fit into 1 GB");
    assert!(exec.stderr.contains("No space left"), "{exec:?}");
}

#[test]
fn exec_has_a_limit_of_time() {
    let stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    let answer = stage.try_act(
        &id,
        "exec",
        json!({"command": ["/bin/sleep", "20"], "timeout": 1}),
    );
    assert!(answer.status >= 400, "{}", answer.text());
    wait_until("the late program is gone", || {
        !stage.shell(&id, "ps -o args").contains("sleep 20")
    });
}

#[test]
fn input_and_binary_output_pass_through_exec() {
    let stage = Stage::set();
    let id = stage.start(Stage::sleeper());
    let answer = stage.act(
        &id,
        "exec",
        json!({"command": ["/bin/wc", "-c"], "stdin": "12345"}),
    );
    assert_eq!(answer["stdout"].as_str().unwrap().trim(), "5");
    assert_eq!(stage.exec(&id, "echo out; echo err >&2").stderr, "err\n");
}

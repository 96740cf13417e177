//! Several processes in one root, several containers in one machine.

use std::time::Duration;

use mayfly_guest::{ContainerState, ExecOutcome, FileEntry, Reply, Request, RestartRule};
use mayfly_machine::{Condition, Dependency, Healthcheck, Probe};

use crate::harness::{Machine, command, process, shell, wait_for};

fn sh(script: &str) -> mayfly_guest::ProcessLaunch {
    process(&["/bin/sh", "-c", script])
}

fn on(name: &str, condition: Condition) -> Dependency {
    Dependency {
        name: name.into(),
        condition,
    }
}

fn check(probe: Probe) -> Healthcheck {
    Healthcheck {
        name: None,
        interval: Duration::from_millis(50),
        grace_period: Duration::ZERO,
        timeout: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 2,
        stop_when_unhealthy: false,
        probe,
    }
}

fn http(port: u16, path: &str) -> Probe {
    Probe::Http {
        port,
        method: "GET".into(),
        path: path.into(),
        headers: Default::default(),
        tls: false,
        tls_skip_verify: false,
        tls_server_name: None,
    }
}

fn states(machine: &Machine) -> Vec<(String, String)> {
    match machine.ask(&Request::Containers) {
        Reply::Containers(states) => states
            .into_iter()
            .map(|ContainerState { name, state, .. }| (name, state))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn several_processes_share_a_root_and_end_with_the_first() {
    let mut machine = shell("while [ ! -e /tmp/ready ]; do sleep 0.02; done; echo first; exit 2");
    let second =
        sh("trap 'echo stopping; exit 0' TERM; touch /tmp/ready; while :; do sleep 0.02; done");
    machine.main().processes.push(second);
    let (exit, mut lines) = machine.run();
    lines.sort();
    assert_eq!(exit.exit_code, Some(2));
    assert_eq!(lines, ["first", "stopping"]);
}

#[test]
fn a_process_that_does_not_stop_is_killed() {
    let mut machine = shell("while [ ! -e /tmp/ready ]; do sleep 0.02; done; exit 0");
    machine.main().stop_patience_ms = 100;
    let deaf = sh("trap '' TERM; touch /tmp/ready; while :; do sleep 0.02; done");
    machine.main().processes.push(deaf);
    let (exit, _) = machine.run();
    assert_eq!(exit.exit_code, Some(0));
}

#[test]
fn containers_have_their_own_roots_and_one_network() {
    let mut machine =
        shell("echo one > /mark; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 0");
    machine.add_container(
        "side",
        sh("hostname; ls /mark; id -u; nc -l -p 81 -e echo hello"),
    );
    machine.start();
    let line = machine.wait_for_line("/mark");
    assert_eq!(line.container.as_deref(), Some("side"));
    assert!(line.message.contains("No such file"));
    wait_for("the side container answers", || {
        let (outcome, output, _) = machine.sh("nc 127.0.0.1 81 </dev/null");
        (outcome == ExecOutcome::Exited { code: 0 } && output == "hello\n").then_some(())
    });
    let mut inside = command(&["ls", "/mark"]);
    inside.container = Some("side".into());
    let (outcome, ..) = machine.exec(inside).finish();
    assert_eq!(outcome, ExecOutcome::Exited { code: 1 });
    assert_eq!(machine.sh("cat /mark").1, "one\n");
    machine.sh("touch /tmp/go");
    let exit = machine.exit();
    assert_eq!(exit.exit_code, Some(0));
    let names: Vec<_> = exit.containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["main", "side"]);
    assert_eq!(exit.containers[1].exit_code, Some(0));
}

#[test]
fn containers_wait_for_what_they_depend_on() {
    // All containers share one pid namespace: what the main one sees there is how far the others have come.
    let mut machine = shell(
        "ps -o args > /tmp/seen; cat /tmp/seen; \
         grep -q '^sh -c while.*serving-mar[k]' /tmp/seen && ! grep -q setup-mar[k] /tmp/seen",
    );
    machine.main().depends_on = vec![
        on("setup", Condition::ExitedSuccessfully),
        on("server", Condition::Healthy),
    ];
    machine.add_container("setup", sh("sleep 0.2; : setup-mark"));
    let answer = "while :; do printf 'HTTP/1.1 200 OK\\r\\n\\r\\n' | nc -l -p 8088; done";
    let mut serve = sh("sleep 0.2; exec sh -c \"$ANSWER\" serving-mark");
    serve.env = [("ANSWER".to_owned(), answer.to_owned())].into();
    let server = machine.add_container("server", serve);
    server.healthchecks = vec![check(http(8088, "/health"))];
    let (exit, lines) = machine.run();
    assert_eq!(exit.exit_code, Some(0), "{lines:?}");
    assert_eq!(exit.containers[1].exit_code, Some(0));
}

#[test]
fn a_dependency_that_fails_ends_the_machine() {
    let mut machine = shell("echo never");
    machine.main().depends_on = vec![on("setup", Condition::ExitedSuccessfully)];
    machine.add_container("setup", sh("exit 3"));
    let (exit, lines) = machine.run();
    assert_eq!(exit.exit_code, Some(127));
    assert_eq!(exit.containers[1].exit_code, Some(3));
    assert!(!lines.contains(&"never".to_owned()));
    assert!(
        lines.iter().any(|line| line.contains("waits for")),
        "{lines:?}"
    );
}

#[test]
fn containers_that_wait_for_each_other_are_refused() {
    let mut machine = shell("true");
    machine.main().depends_on = vec![on("side", Condition::Started)];
    machine.add_container("side", sh("true")).depends_on = vec![on("main", Condition::Started)];
    assert_eq!(
        machine.launch(),
        "failed every container waits for another one"
    );
}

#[test]
fn a_container_restarts_by_its_rule() {
    let mut machine = shell("while [ ! -e /tmp/go ]; do sleep 0.02; done");
    machine
        .add_container("side", sh("echo try; exit 1"))
        .restart = RestartRule::OnFailure { max_retries: 1 };
    machine.start();
    wait_for("the side container has given up", || {
        states(&machine)
            .contains(&("side".into(), "exited".into()))
            .then_some(())
    });
    let tries = machine
        .messages()
        .iter()
        .filter(|line| *line == "try")
        .count();
    assert_eq!(tries, 2);
    assert_eq!(states(&machine)[0], ("main".into(), "running".into()));
    machine.sh("touch /tmp/go");
    assert_eq!(machine.exit().containers[1].exit_code, Some(1));
}

#[test]
fn health_is_reported_and_may_stop_a_container() {
    let mut machine = shell("while :; do sleep 1; done");
    let side = machine.add_container("side", sh("while :; do sleep 0.02; done"));
    let mut exec = check(Probe::Exec {
        command: vec!["test".into(), "-e".into(), "/tmp/well".into()],
    });
    exec.stop_when_unhealthy = true;
    side.healthchecks = vec![exec];
    side.files = vec![file("/tmp/well", b"")];
    machine.start();
    let reach = |wanted: &str| {
        wait_for(wanted, || {
            states(&machine)
                .contains(&("side".into(), wanted.into()))
                .then_some(())
        });
    };
    reach("healthy");
    let mut sick = command(&["rm", "/tmp/well"]);
    sick.container = Some("side".into());
    machine.exec(sick).finish();
    reach("exited");
    assert!(
        machine
            .messages()
            .iter()
            .any(|line| line.contains("health check failed"))
    );
}

#[test]
fn a_probe_that_hangs_counts_as_failed() {
    let mut machine = shell("while :; do sleep 1; done");
    let mut hangs = check(Probe::Exec {
        command: vec!["sleep".into(), "1000".into()],
    });
    hangs.timeout = Duration::from_millis(50);
    machine.main().healthchecks = vec![hangs];
    machine.start();
    wait_for("unhealthy", || {
        (states(&machine)[0].1 == "unhealthy").then_some(())
    });
}

/// A file of the image, there before the container's first process.
fn file(guest_path: &str, content: &[u8]) -> FileEntry {
    FileEntry {
        guest_path: guest_path.into(),
        content: Some(content.to_vec()),
        mode: 0o644,
    }
}

fn https(port: u16, skip_verify: bool, server_name: Option<&str>) -> Probe {
    let mut probe = http(port, "/");
    if let Probe::Http {
        tls,
        tls_skip_verify,
        tls_server_name,
        ..
    } = &mut probe
    {
        (*tls, *tls_skip_verify) = (true, skip_verify);
        *tls_server_name = server_name.map(str::to_owned);
    }
    probe
}

#[test]
fn https_probes_judge_the_certificate() {
    // One container serves, with a certificate of its own making; of the others, some trust it.
    let mut machine = Machine::new(process(&[
        "/bin/openssl",
        "s_server",
        "-accept",
        "8443",
        "-cert",
        "/tls.crt",
        "-key",
        "/tls.key",
        "-www",
        "-quiet",
    ]));
    machine.add_program("/usr/bin/openssl");
    // An end entity: openssl's own configuration would make it an authority, which must not serve.
    let config = "[req]\ndistinguished_name = name\n[name]\n";
    std::fs::write(machine.run_dir().join("req.cnf"), config).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["req", "-config", "req.cnf", "-x509", "-days", "2", "-nodes"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args([
            "-subj",
            "/CN=web",
            "-addext",
            "subjectAltName=DNS:localhost,DNS:web",
        ])
        .args(["-keyout", "tls.key", "-out", "tls.crt"])
        .current_dir(machine.run_dir())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| std::fs::read(machine.run_dir().join(name)).unwrap();
    let (certificate, key) = (read("tls.crt"), read("tls.key"));
    machine.main().files = vec![file("/tls.crt", &certificate), file("/tls.key", &key)];
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let cases = [
        ("trusts", https(8443, false, None), true, "healthy"),
        ("names", https(8443, false, Some("web")), true, "healthy"),
        (
            "misnames",
            https(8443, false, Some("other")),
            true,
            "unhealthy",
        ),
        ("distrusts", https(8443, false, None), false, "unhealthy"),
        ("careless", https(8443, true, None), false, "healthy"),
        ("plain", http(8443, "/"), true, "unhealthy"),
    ];
    for (name, probe, trusts, _) in &cases {
        let container = machine.add_container(name, sh("while :; do sleep 1; done"));
        let mut check = check(probe.clone());
        check.failure_threshold = 1;
        // The server may still be starting.
        check.grace_period = Duration::from_millis(500);
        container.healthchecks = vec![check];
        if *trusts {
            container.files = vec![file(bundle, &certificate)];
        }
    }
    machine.start();
    for (name, _, _, wanted) in cases {
        let what = format!("{name} is {wanted}; {:?}", machine.messages());
        wait_for(&what, || {
            states(&machine)
                .contains(&(name.to_owned(), wanted.to_owned()))
                .then_some(())
        });
    }
}

#[test]
fn a_name_no_certificate_can_be_for_is_refused() {
    let mut machine = shell("true");
    machine.main().healthchecks = vec![check(https(443, false, Some("two words")))];
    let line = machine.launch();
    assert!(
        line.contains("tls_server_name") && line.contains("`two words`"),
        "{line}"
    );
}

#[test]
fn the_init_passes_on_the_host_s_sigterm_as_the_stop_signal() {
    let mut machine =
        shell("trap 'echo int; exit 0' INT; echo ready; while :; do sleep 0.02; done");
    let guest = machine.start();
    machine.wait_for_line("ready");
    let init = rustix::process::Pid::from_raw(guest.init_pid as i32).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::TERM).unwrap();
    assert_eq!(machine.exit().exit_code, Some(0));
    assert_eq!(machine.messages(), ["ready", "int"]);
}

//! Health checks of real programs in real machines: when they are made, what they say and where it shows.

use mayfly_conformance::Stage;
use mayfly_testing::{CliAnswer, wait_for, wait_until};
use serde_json::{Value, json};

/// A web server that is broken while `/tmp/broken` exists, begins to listen when `/tmp/ready` does, and writes down who
/// asked.
const SERVER: &str = r#"
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/health <<'END'
#!/bin/sh
echo "$HTTP_USER_AGENT" >> /tmp/askers
if [ -e /tmp/broken ]; then
    printf 'HTTP/1.0 503 Service Unavailable\r\n\r\nout of order\n'
elif [ -e /tmp/moved ]; then
    printf 'HTTP/1.0 302 Found\r\nLocation: /elsewhere\r\n\r\n'
else
    printf 'HTTP/1.0 200 OK\r\n\r\nas well as can be\n'
fi
END
chmod +x /tmp/www/cgi-bin/health
while [ -n "$WAIT" ] && [ ! -e /tmp/ready ]; do sleep 0.05; done
exec httpd -f -p 8080 -h /tmp/www
"#;

fn server(check: Value) -> Value {
    let mut config = Stage::script(SERVER);
    config["services"] = json!([{
        "protocol": "tcp",
        "internal_port": 8080,
        "ports": [{"port": 80, "handlers": ["http"]}],
        "checks": [check],
    }]);
    config
}

fn http(interval: &str) -> Value {
    json!({"type": "http", "path": "/cgi-bin/health", "interval": interval, "timeout": "2s"})
}

/// Status and output of a check as the API shows them.
fn check(stage: &Stage, id: &str, name: &str) -> (String, String) {
    let machine = stage.get(id);
    let checks = machine["checks"].as_array().expect("checks are a list");
    let check = checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no check {name} in {checks:?}"));
    assert!(
        check["updated_at"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    let text = |key: &str| check[key].as_str().expect("a text").to_owned();
    (text("status"), text("output"))
}

fn becomes(stage: &Stage, id: &str, name: &str, status: &str) -> String {
    wait_for(&format!("{name} is {status}"), || {
        let (now, output) = check(stage, id, name);
        (now == status).then_some(output)
    })
}

/// Kinds of the check events of a machine so far, oldest first, with the region each names.
fn turns(stage: &Stage, id: &str) -> Vec<(String, String)> {
    let log = stage
        .cloud
        .get(&format!("/v1/events?machine={id}&limit=500"))
        .expect(200);
    log["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| {
            event["kind"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("check."))
        })
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&event["kind"]), text(&event["after"]["region"]))
        })
        .collect()
}

const NAME: &str = "servicecheck-00-http-8080";

#[test]
fn a_check_follows_its_program_and_shows_everywhere() {
    let stage = Stage::set();
    let id = stage.start(server(http("1s")));
    assert_eq!(becomes(&stage, &id, NAME, "passing"), "200 OK");
    stage.shell(&id, "touch /tmp/broken");
    let output = becomes(&stage, &id, NAME, "critical");
    assert_eq!(output, "503 Service Unavailable: out of order");

    let cli = stage.cloud.cli();
    let shown = |answer: &CliAnswer| {
        let row = answer.ok().lines().find(|line| line.contains(NAME));
        row.expect("the check has a row").to_owned()
    };
    let listed = cli.run(["checks", "list", "--app", "stage"]);
    assert!(shown(&listed).contains("critical"), "{}", listed.stdout);
    assert!(shown(&listed).contains(&id), "{}", listed.stdout);
    let of_machines = cli.run(["checks", "list", "-a", "stage", "--json"]).json();
    assert_eq!(of_machines[&id][0]["status"], "critical");
    let one = cli.run(["machine", "status", &id, "-a", "stage", "--display-checks"]);
    assert!(shown(&one).contains("503"), "{}", one.stdout);
    let status = cli.run(["status", "--app", "stage"]);
    assert!(
        status.ok().contains("1 total, 1 critical"),
        "{}",
        status.stdout
    );
    let summary = stage.cloud.get(&stage.path("?summary=true")).expect(200);
    assert_eq!(summary[0]["checks"][0]["status"], "critical");

    // A redirect is no success either.
    stage.shell(&id, "rm /tmp/broken; touch /tmp/moved");
    wait_until("the redirect shows", || {
        check(&stage, &id, NAME)
            .1
            .starts_with("302 Found: redirects are not followed")
    });
    stage.shell(&id, "rm /tmp/moved");
    becomes(&stage, &id, NAME, "passing");
    let status = cli.run(["status", "--app", "stage"]);
    assert!(
        status.ok().contains("1 total, 1 passing"),
        "{}",
        status.stdout
    );

    let passing = || ("check.passing".to_owned(), "iad".to_owned());
    let critical = || ("check.critical".to_owned(), "iad".to_owned());
    wait_until("the log has all changes", || {
        turns(&stage, &id) == [passing(), critical(), passing()]
    });
    // The machine's own history is not about its checks.
    let machine = stage.get(&id);
    let kinds: Vec<&str> = machine["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(kinds, ["start", "launch"]);
    let askers = stage.shell(&id, "sort -u /tmp/askers");
    assert_eq!(askers, "Mayfly-Health-Check/1");
}

#[test]
fn nothing_is_asked_or_counted_in_the_grace_period() {
    let stage = Stage::set();
    let mut check_spec = http("1s");
    check_spec["grace_period"] = json!("10s");
    let mut config = server(check_spec);
    config["env"] = json!({"WAIT": "yes"});
    let id = stage.start(config);
    let (status, output) = check(&stage, &id, NAME);
    assert_eq!(
        (status.as_str(), output.as_str()),
        ("warning", "waiting for the first result")
    );
    stage.shell(
        &id,
        "touch /tmp/ready; until nc 127.0.0.1 8080 </dev/null; do sleep 0.05; done",
    );
    assert_eq!(
        stage.exec(&id, "cat /tmp/askers").stdout,
        "",
        "asked before its time"
    );
    becomes(&stage, &id, NAME, "passing");
    wait_until("the log has the change", || !turns(&stage, &id).is_empty());
    assert_eq!(turns(&stage, &id)[0].0, "check.passing", "never critical");
}

#[test]
fn other_checks_say_what_programs_say_and_end_with_them() {
    let mut stage = Stage::set();
    let mut config = server(json!({"type": "tcp", "interval": "1s", "timeout": "1s"}));
    let mut role = http("1s");
    role["port"] = json!(8080);
    let nobody = json!({"type": "tcp", "port": 9, "interval": "1s", "timeout": "1s"});
    config["checks"] = json!({"role": role, "nobody": nobody});
    let id = stage.start(config.clone());
    let tcp = "servicecheck-00-tcp-8080";
    assert_eq!(becomes(&stage, &id, tcp, "passing"), "Success");
    assert_eq!(becomes(&stage, &id, "role", "passing"), "as well as can be");
    let refused = becomes(&stage, &id, "nobody", "critical");
    assert!(refused.contains("refused"), "{refused}");

    // The daemon's restart forgets the results, and finds them again.
    stage.cloud.crash_and_restart();
    becomes(&stage, &id, tcp, "passing");
    becomes(&stage, &id, "nobody", "critical");

    // A stopped machine has nothing to say.
    stage.act(&id, "stop", json!({"timeout": "1s"}));
    stage.wait(&id, "stopped");
    let stopped = becomes(&stage, &id, tcp, "warning");
    assert_eq!(stopped, "the machine has not started");

    // What was seen of the old version says nothing about the new one.
    config["services"][0]["checks"][0]["port"] = json!(8081);
    let path = stage.path(&format!("/{id}"));
    let updated = stage
        .cloud
        .post(&path, json!({"config": config}))
        .expect(200);
    assert_eq!(updated["checks"][0]["name"], "servicecheck-00-tcp-8081");
    assert_eq!(updated["checks"][0]["status"], "warning");
    becomes(&stage, &id, "servicecheck-00-tcp-8081", "critical");
    becomes(&stage, &id, "role", "passing");
    stage.destroy(&id);
    assert_eq!(stage.get(&id)["checks"], json!([]));
}

//! An app's configuration: checked, shown, saved.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::runner::{User, assert_golden};
use crate::sample;
use crate::server::Server;

fn user_with(text: &str) -> User {
    let user = User::stranger();
    std::fs::write(user.path("fly.toml"), text).unwrap();
    user
}

#[test]
fn every_mistake_is_named_with_its_line_and_remedy() {
    let user = user_with(
        "app = 'web'\n\n[http_service]\ninternal_prot = 3000\nauto_stop_machines = 'sotp'\n\n[processes]\nweb = 'serve'\n\
         worker = 'work'\n\n[[vm]]\nsize = 'shared-cpu-3x'\nprocesses = ['wrker']\n",
    );
    let ran = user.run("config validate");
    assert_eq!(ran.code, Some(1));
    assert_golden(
        "config-validate-mistakes.txt",
        &format!("{}{}", ran.stdout, ran.stderr),
    );
}

#[test]
fn likely_mistakes_are_warnings() {
    let text = "app = 'web'\n\n[env]\nPORT = 3000\nSTRIPE_SECRET_KEY = 'sk_live_0123456789'\n\n[http_service]\ninternal_port = 8080\n\
                auto_stop_machines = 'stop'\n\n[[http_service.checks]]\npath = '/health/db'\n\n[mounts]\nsource = 'data'\n\
                destination = '/data'\n";
    let user = user_with(text);
    // The sources are looked at too.
    std::fs::write(
        user.path("package.json"),
        r#"{"dependencies":{"knex":"3"},"scripts":{"start":"node x"}}"#,
    )
    .unwrap();
    assert_golden(
        "config-validate-warnings.txt",
        user.run("config validate").ok(),
    );
    let answer = user.run("config validate --json").json();
    let problems = answer["problems"].as_array().unwrap();
    let rules: BTreeSet<&str> = problems
        .iter()
        .filter_map(|problem| problem["rule"].as_str())
        .collect();
    let wanted = [
        "check-hits-database",
        "no-swap",
        "port-mismatch",
        "secret-in-env",
        "single-volume-autostop",
        "stateful-min-zero",
    ];
    assert_eq!(rules, wanted.into());
    let allowed = user_with(&format!("{text}# mayfly: allow {}\n", wanted.join(", ")));
    assert_eq!(allowed.run("config validate").ok(), "✓ fly.toml is valid\n");
}

#[test]
fn unknown_keys_are_refused_on_request() {
    let user = user_with("app = 'web'\nprimary_regoin = 'iad'\n");
    assert!(
        user.run("config validate")
            .ok()
            .contains("did you mean \"primary_region\"?")
    );
    let strict = user.run("config validate --strict");
    assert_eq!(strict.code, Some(1));
    assert!(
        strict
            .stdout
            .starts_with("fly.toml:2:1: error: primary_regoin"),
        "{strict:?}"
    );
    let none = User::stranger().run("config validate");
    assert!(none.failed().contains("there is no fly.toml"));
    let named = user.run("config validate -c elsewhere.toml");
    assert!(named.failed().contains("elsewhere.toml"));
}

#[test]
fn a_file_is_shown_in_every_language() {
    let user = user_with(
        "app = 'web'\nkill_timeout = 30\n[env]\nA = 1\n[mount]\nsource = 'd'\ndestination = '/d'\n",
    );
    let shown = user.run("config show --local").json();
    assert_eq!(
        shown,
        json!({ "app": "web", "kill_timeout": "30s", "env": { "A": "1" }, "mounts": [{ "source": "d", "destination": "/d" }] })
    );
    let yaml = user.run("config show --local --yaml").ok().to_owned();
    assert_eq!(
        yaml,
        "app: web\nkill_timeout: \"30s\"\nenv:\n  A: \"1\"\nmounts:\n  - source: d\n    destination: /d\n"
    );
    std::fs::remove_file(user.path("fly.toml")).unwrap();
    std::fs::write(user.path("fly.yaml"), &yaml).unwrap();
    assert_eq!(user.run("config show --local").json(), shown);
    let toml = user.run("config show --local --toml").ok().to_owned();
    std::fs::write(user.path("other.toml"), &toml).unwrap();
    assert_eq!(user.run("config show --local -c other.toml").json(), shown);
    let broken = user_with("app = 'web'\n[http_service]\n").run("config show --local");
    assert!(
        broken.failed().contains("internal_port is required"),
        "{broken:?}"
    );
    let wrong = user_with("app = 'web'\n[env\n").run("config show --local");
    assert!(wrong.failed().contains("fly.toml:2:"), "{wrong:?}");
}

fn cloud() -> Server {
    let server = Server::start();
    let mut machine = sample::machine();
    // What this version has never heard of keeps a machine from being read as a whole.
    machine["config"]
        .as_object_mut()
        .unwrap()
        .remove("from_the_future");
    machine["config"]["env"] =
        json!({ "A": "2", "FLY_PROCESS_GROUP": "web", "PRIMARY_REGION": "iad" });
    server
        .says("GET /v1/apps/web", 200, sample::app())
        .says("GET /v1/apps/web/machines", 200, json!([machine]))
        .says("GET /v1/apps/none", 200, sample::app())
        .says("GET /v1/apps/none/machines", 200, json!([]))
        .says(
            "GET /v1/apps/web/secrets",
            200,
            json!({ "secrets": [{ "name": "KEY", "digest": "d1" }] }),
        );
    server
}

#[test]
fn machines_tell_their_configuration() {
    let server = cloud();
    let user = User::of(&server);
    let shown = user.run("config show -a web").json();
    assert_eq!(shown["primary_region"], "iad");
    assert_eq!(
        shown["processes"],
        json!({ "web": "nginx -g 'daemon off;'" })
    );
    assert_eq!(shown["services"][0]["processes"], json!(["web"]));
    assert_eq!(shown["vm"], json!([{ "size": "shared-cpu-1x" }]));
    assert_eq!(
        user.run("config env -a web --json").json(),
        json!({ "secrets": { "KEY": "d1" }, "env": { "A": "2" } })
    );
    assert!(user.run("config env -a web").ok().contains("KEY"));
    let none = user.run("config show -a none");
    assert!(
        none.failed().contains("has no machines") && none.stderr.contains("--local"),
        "{none:?}"
    );
}

#[test]
fn saving_keeps_comments_and_what_machines_do_not_know() {
    let server = cloud();
    let user = User::of(&server);
    assert_eq!(user.run("config save -a web").code, Some(0));
    // Into a file that is not there yet, too.
    let other = user.run("config save -a web --config other.yaml");
    assert_eq!(other.code, Some(0));
    assert!(user.path("other.yaml").is_file());
    assert!(
        std::fs::read_to_string(user.path("fly.toml"))
            .unwrap()
            .contains("[[services]]")
    );
    std::fs::write(
        user.path("fly.toml"),
        "# Mine.\napp = 'web' # ours\n\n[build]\ndockerfile = 'D' # built so\n\n[env]\n# why\nA = '1'\n",
    )
    .unwrap();
    assert!(user.run("config save").failed().contains("--yes"));
    assert_eq!(user.run("config save --yes").code, Some(0));
    let saved = std::fs::read_to_string(user.path("fly.toml")).unwrap();
    for kept in [
        "# Mine.\napp = 'web' # ours\n",
        "dockerfile = 'D' # built so",
        "# why\nA = \"2\"\n",
    ] {
        assert!(saved.contains(kept), "{kept} is not in\n{saved}");
    }
    assert_eq!(user.run("config save --yes --yaml").code, Some(0));
    assert!(
        std::fs::read_to_string(user.path("fly.yaml"))
            .unwrap()
            .starts_with("app: web\n")
    );
}

#[test]
fn the_schema_is_json() {
    let schema: Value = User::stranger().run("config schema").json();
    assert_eq!(schema["properties"]["http_service"]["type"], "object");
}

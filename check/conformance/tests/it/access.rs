//! Who may do what: tokens for CI and for single purposes, members, and the audit of it all.

use std::fs;

use mayfly_conformance::{Clients, Stage};
use mayfly_testing::{CliAnswer, CliRunner, CloudOptions};
use serde_json::Value;

/// The command line of somebody who has nothing but the cloud's address.
fn newcomer(stage: &Stage) -> CliRunner {
    let home = stage.cloud.cli().home().join("newcomer");
    fs::create_dir_all(home.join(".mayfly")).unwrap();
    let api = stage.cloud.api();
    let config = format!("api_base_url: http://{api}\nflaps_base_url: http://{api}\n");
    fs::write(home.join(".mayfly/config.yml"), config).unwrap();
    CliRunner::at_home(home)
}

fn made(cli: &CliRunner, words: &[&str]) -> String {
    let answer = cli.run(["tokens", "create"].iter().chain(words));
    let token = answer.ok().trim().to_owned();
    assert!(token.starts_with("FlyV1 fm2_"), "{token}");
    token
}

/// Runs as whoever holds `token`.
fn run_as(cli: &CliRunner, token: &str, words: &[&str]) -> CliAnswer {
    cli.run(["-t", token].iter().chain(words))
}

#[test]
fn a_ci_token_deploys_its_app_and_nothing_else() {
    let stage = Stage::set();
    let (cli, ci) = (stage.cloud.cli(), newcomer(&stage));
    cli.run(["apps", "create", "other"]).ok();
    let token = made(&cli, &["deploy", "-a", "stage", "-n", "ci", "-x", "720h"]);
    fs::write(ci.home().join("fly.toml"), "app = \"stage\"\n").unwrap();
    let deploy = [
        "deploy",
        "--image",
        "hello:latest",
        "--smoke-checks=false",
        "--ha=false",
    ];
    run_as(&ci, &token, &deploy).ok();
    run_as(&ci, &token, &["status", "-a", "stage"]).ok();
    run_as(&ci, &token, &["secrets", "set", "A=b", "-a", "stage"]).ok();
    let unseen = run_as(&ci, &token, &["status", "-a", "other"]);
    assert!(
        unseen.refused().contains("Could not find App"),
        "{unseen:?}"
    );
    let refused = run_as(
        &ci,
        &token,
        &["orgs", "invite", "personal", "eve@example.org"],
    );
    assert!(
        refused.refused().contains("only admins") || refused.stderr.contains("token"),
        "{refused:?}"
    );
    run_as(&ci, &token, &["apps", "create", "third"]).refused();
    run_as(&ci, &token, &["tokens", "create", "org", "-o", "personal"]).refused();
    let names = run_as(&ci, &token, &["apps", "list", "--quiet"]);
    assert_eq!(names.ok(), "stage\n");

    let listed = cli.run(["tokens", "list", "-a", "stage", "--json"]).json();
    assert_eq!(listed[0]["name"], "ci");
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    let revoked = cli.run(["tokens", "revoke", &id]);
    assert_eq!(revoked.ok(), format!("Revoked {id}\n1 tokens revoked\n"));
    let dead = run_as(&ci, &token, &["status", "-a", "stage"]);
    assert!(dead.refused().contains("revoked"), "{dead:?}");
    // Nothing of the token is in the log, and who revoked it is.
    let audit = cli.run(["audit", "--json", "-n", "500"]);
    let secret = token.trim_start_matches("FlyV1 ");
    let mistaken = cli.run(["tokens", "revoke", secret]);
    assert!(mistaken.refused().contains("not the id"), "{mistaken:?}");
    for said in [
        audit.ok(),
        cli.run(["events", "--after", "0", "--json"]).ok(),
        &dead.stderr,
        &mistaken.stderr,
        &mistaken.stdout,
        &stage.cloud.daemon_log(),
    ] {
        assert!(!said.contains(&secret[40..]), "it has the token: {said}");
        assert!(
            !said.contains(stage.cloud.token()),
            "it has the token: {said}"
        );
    }
    let newest: Value = serde_json::from_str(audit.ok().lines().next().unwrap()).unwrap();
    assert_eq!(newest["kind"], "token.revoke");
    assert!(newest["actor_name"].as_str().unwrap().starts_with("admin@"));
}

#[test]
fn a_leaked_token_serves_only_where_and_for_what_it_was_made() {
    let stage = Stage::set();
    let (cli, ci) = (stage.cloud.cli(), newcomer(&stage));
    let api = stage.cloud.api();
    let clients = Clients::new();
    let image = clients.image("limited", 1 << 20);
    let push = |token: &str, name: &str| {
        clients.log_in(&[&api.to_string()], token.trim_start_matches("FlyV1 "));
        clients.copy(&image, &format!("docker://{api}/{name}"))
    };
    fs::write(ci.home().join("fly.toml"), "app = \"stage\"\n").unwrap();
    let deploy = |token: &str, image: &str| {
        let words = [
            "deploy",
            "--image",
            image,
            "--smoke-checks=false",
            "--ha=false",
        ];
        run_as(&ci, token, &words)
    };

    let elsewhere = made(
        &cli,
        &["deploy", "-a", "stage", "--source", "203.0.113.0/24"],
    );
    let status = ["status", "-a", "stage"];
    let refused = run_as(&ci, &elsewhere, &status);
    let why = "the token's caveat Sources refuses this: it comes from 127.0.0.1; it is good from 203.0.113.0/24";
    assert!(refused.refused().contains(why), "{refused:?}");
    // skopeo asks by HEAD first, whose answer has no reason.
    let refused = push(&elsewhere, "stage/web:v1").unwrap_err();
    assert!(refused.contains("403 (Forbidden)"), "{refused}");

    let words = [
        "--source",
        "127.0.0.0/8",
        "--image",
        "registry.fly.io/stage/web",
    ];
    let here = made(
        &cli,
        &[&["deploy", "-a", "stage", "-n", "here"], &words[..]].concat(),
    );
    run_as(&ci, &here, &status).ok();
    let refused = push(&here, "stage/other:v1").unwrap_err();
    assert!(refused.contains("caveat Images"), "{refused}");
    push(&here, "stage/web:v1").unwrap();
    let refused = deploy(&here, "hello:latest");
    assert!(refused.refused().contains("caveat Images"), "{refused:?}");
    deploy(&here, "registry.fly.io/stage/web:v1").ok();

    let narrowed = cli.run(["-t", &here, "tokens", "attenuate", "--region", "zzz"]);
    let narrowed = narrowed.ok().trim();
    let refused = deploy(narrowed, "registry.fly.io/stage/web:v1");
    assert!(refused.refused().contains("caveat Regions"), "{refused:?}");
    let shown = cli.run(["-t", narrowed, "tokens", "debug"]);
    for kind in ["Sources", "Images", "Regions"] {
        assert!(shown.ok().contains(kind), "{shown:?}");
    }

    // Both were used from here for the first time, whether that was allowed or not.
    let audit = cli.run(["audit", "--json", "--kind", "token.source", "-n", "500"]);
    let events: Vec<Value> = audit
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0]["after"]["source"], "127.0.0.1/32");
    assert_eq!(events[0]["after"]["name"], "here");
}

#[test]
fn tokens_for_one_purpose_serve_it_alone() {
    // Clouds that run beside this one want the usual port, too, but at another address.
    let [.., high, low] = std::process::id().to_be_bytes();
    let gateway = format!("[gateway]\nlisten = \"127.77.{high}.{low}:51820\"\n");
    let stage = Stage::set_with(CloudOptions {
        config: Some(gateway),
        ..CloudOptions::default()
    });
    let (cli, holder) = (stage.cloud.cli(), newcomer(&stage));
    let id = stage.start(Stage::script("sleep inf"));

    let runs = made(
        &cli,
        &[
            "machine-exec",
            "-a",
            "stage",
            "-C",
            "echo hi",
            "-p",
            "ls -d",
        ],
    );
    let exec = |token: &str, line: &str| {
        run_as(
            &holder,
            token,
            &["machine", "exec", &id, line, "-a", "stage"],
        )
    };
    assert_eq!(exec(&runs, "echo hi").ok(), "hi\n");
    assert!(exec(&runs, "ls -d /etc").ok().contains("/etc"));
    assert!(
        exec(&runs, "echo hi there")
            .refused()
            .contains("does not allow this command")
    );
    run_as(&holder, &runs, &["machine", "stop", &id, "-a", "stage"]).refused();

    let shell = made(&cli, &["ssh", "-a", "stage"]);
    let console = ["ssh", "console", "-a", "stage", "-C", "hostname"];
    assert_eq!(run_as(&holder, &shell, &console).ok().trim(), id);
    run_as(&holder, &shell, &["machine", "stop", &id, "-a", "stage"]).refused();
    run_as(&holder, &runs, &console).refused();

    let peers = made(&cli, &["wireguard", "-o", "personal"]);
    run_as(
        &holder,
        &peers,
        &[
            "wireguard",
            "create",
            "personal",
            "iad",
            "laptop",
            "wg.conf",
        ],
    )
    .ok();
    run_as(
        &holder,
        &peers,
        &["wireguard", "remove", "personal", "laptop"],
    )
    .ok();
    run_as(&holder, &peers, &["machine", "stop", &id, "-a", "stage"]).refused();

    let reads = made(&cli, &["readonly", "personal"]);
    run_as(&holder, &reads, &["status", "-a", "stage"]).ok();
    let stop = run_as(&holder, &reads, &["machine", "stop", &id, "-a", "stage"]);
    assert!(
        stop.refused().contains("does not allow the action"),
        "{stop:?}"
    );
    assert_eq!(stage.state(&id), "started");
}

#[test]
fn tokens_are_narrowed_offline_and_by_other_services() {
    let stage = Stage::set();
    let (cli, holder) = (stage.cloud.cli(), newcomer(&stage));
    let id = stage.start(Stage::script("sleep inf"));
    let token = made(&cli, &["org", "-o", "personal"]);

    let caveats = r#"[{"type": "Action", "body": "r"}]"#;
    let narrowed = holder.run_with_input(["-t", &token, "tokens", "attenuate"], caveats);
    let narrowed = narrowed.ok().trim().to_owned();
    run_as(&holder, &narrowed, &["status", "-a", "stage"]).ok();
    run_as(&holder, &narrowed, &["machine", "stop", &id, "-a", "stage"]).refused();
    let shown = run_as(&holder, &narrowed, &["tokens", "debug"]).json();
    let last = shown[0]["caveats"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last, serde_json::json!({"type": "Action", "body": "r"}));
    let typo = holder.run_with_input(
        ["-t", &token, "tokens", "attenuate"],
        r#"[{"type": "Aktion", "body": "r"}]"#,
    );
    assert!(typo.refused().contains("\"Aktion\" is none of"), "{typo:?}");

    let secret = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
    let service = ["--location", "https://auth.example", "--secret", secret];
    let third = |token: &str, words: &[&str]| {
        let all: Vec<&str> = ["tokens", "3p"].iter().chain(words).copied().collect();
        run_as(&holder, token, &all).ok().trim().to_owned()
    };
    let asking = third(
        &token,
        &["add", service[0], service[1], service[2], service[3]],
    );
    run_as(&holder, &asking, &["status", "-a", "stage"]).refused();
    let ticket = third(&asking, &["ticket"]);
    let discharge = third(
        &asking,
        &[
            "discharge",
            "--ticket",
            &ticket,
            service[0],
            service[1],
            service[2],
            service[3],
        ],
    );
    let whole = third(&asking, &["add-discharge", "--discharge", &discharge]);
    run_as(&holder, &whole, &["status", "-a", "stage"]).ok();
}

#[test]
fn an_invited_member_works_until_removed() {
    let stage = Stage::set();
    let (cli, bob) = (stage.cloud.cli(), newcomer(&stage));
    cli.run(["orgs", "create", "Team"]).ok();
    let invited = cli
        .run(["orgs", "invite", "team", "bob@example.org", "--json"])
        .json();
    let code = invited["code"].as_str().unwrap();
    let shown = cli.run(["orgs", "show", "team"]);
    assert!(
        shown.ok().contains("Pending") && shown.stdout.contains("bob@example.org"),
        "{shown:?}"
    );
    // Without a terminal nothing is asked.
    let nameless = bob.run(["orgs", "accept", code]);
    assert!(nameless.refused().contains("--name"), "{nameless:?}");
    let accepted = bob.run(["orgs", "accept", code, "--name", "Bob"]);
    assert_eq!(
        accepted.ok(),
        "successfully logged in as bob@example.org\nYou are a member of organization team\n"
    );
    let shown = cli.run(["orgs", "show", "team"]);
    assert!(!shown.ok().contains("Pending"), "{shown:?}");
    assert_eq!(bob.run(["auth", "whoami"]).ok(), "bob@example.org\n");
    bob.run(["apps", "create", "bobs", "--org", "team"]).ok();
    bob.run(["orgs", "invite", "team", "eve@example.org"])
        .refused();
    let team = bob.run(["orgs", "show", "team"]);
    for part in ["bob@example.org", "member", "admin@"] {
        assert!(team.ok().contains(part), "{team:?}");
    }
    let token = made(&bob, &["org", "-o", "team"]);
    run_as(&cli, &token, &["status", "-a", "bobs"]).ok();

    let audit = cli.run(["audit", "--org", "team", "--actor", "bob@example.org"]);
    assert!(audit.ok().contains("app.create"), "{audit:?}");
    cli.run(["orgs", "role", "team", "bob@example.org", "admin"])
        .ok();
    bob.run(["orgs", "invite", "team", "eve@example.org"]).ok();
    cli.run(["orgs", "remove", "team", "eve@example.org"]).ok();
    cli.run(["orgs", "remove", "team", "bob@example.org"]).ok();
    bob.run(["status", "-a", "bobs"]).refused();
    let dead = run_as(&cli, &token, &["status", "-a", "bobs"]);
    assert!(dead.refused().contains("revoked"), "{dead:?}");

    let full = cli.run(["orgs", "delete", "team", "--yes"]);
    assert!(full.refused().contains("still has 1 apps"), "{full:?}");
    cli.run(["apps", "destroy", "bobs", "--yes"]).ok();
    cli.run(["orgs", "delete", "team", "--yes"]).ok();
    assert!(!cli.run(["orgs", "list"]).ok().contains("team"));
}

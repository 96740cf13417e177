//! From sources to an app with its files, with and without somebody to ask.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::runner::{User, assert_golden};
use crate::server::Server;
use crate::terminal::Terminal;

fn app(name: &str) -> Value {
    json!({
        "id": "app_1", "name": name, "status": "pending", "organization": { "slug": "personal" },
        "hostname": format!("{name}.example.com"), "app_url": format!("https://{name}.example.com"),
    })
}

/// A cloud of two regions in which no app is there yet.
fn cloud(name: &str) -> Server {
    let server = Server::start();
    server
        .says(
            "GET /v1/platform/regions",
            200,
            json!({ "Regions": [{ "code": "iad" }, { "code": "fra" }] }),
        )
        .says(
            "GET /v1/orgs",
            200,
            json!({ "organizations": [{ "slug": "personal" }] }),
        )
        .says("POST /v1/apps?wait=true", 201, json!({ "id": "app_1" }))
        .says(&format!("GET /v1/apps/{name}"), 200, app(name))
        .says(
            &format!("GET /v1/apps/{name}/secrets"),
            200,
            json!({ "secrets": [] }),
        )
        .says(
            &format!("POST /v1/apps/{name}/secrets"),
            200,
            json!({ "secrets": [], "version": 1 }),
        );
    server
}

fn put(user: &User, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = user.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn text(user: &User, path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(user.path(path.as_ref().to_str().unwrap())).unwrap_or_default()
}

const NODE: &[(&str, &str)] = &[
    (
        "package.json",
        r#"{"dependencies":{"express":"4","pg":"8"},"scripts":{"start":"node server.js"}}"#,
    ),
    ("package-lock.json", "{}"),
    ("server.js", "app.listen(process.env.PORT || 3000)"),
];

#[test]
fn sources_become_an_app_with_its_files() {
    let server = cloud("shop");
    let user = User::of(&server);
    put(&user, NODE);
    let ran = user.run("launch --name shop --region fra --yes --no-deploy");
    assert_golden("launch-node.txt", ran.ok());
    assert_golden("launch-node.toml", &text(&user, "fly.toml"));
    assert!(text(&user, "Dockerfile").contains("CMD [\"node\", \"server.js\"]"));
    assert!(text(&user, ".dockerignore").contains("node_modules"));
    let asked = server.asked_for("POST /v1/apps?wait=true")[0].json();
    assert_eq!(
        (&asked["app_name"], &asked["org_slug"]),
        (&json!("shop"), &json!("personal"))
    );
    // What a launch writes has nothing to complain about.
    assert_eq!(
        user.run("config validate --strict").ok(),
        "✓ fly.toml is valid\n"
    );
}

/// Everything the families can ask of a fly.toml.
#[test]
fn every_kind_of_app_has_a_sound_configuration() {
    let projects: [(&str, &[(&str, &str)]); 7] = [
        (
            "django",
            &[
                ("requirements.txt", "django\npsycopg\ncelery\n"),
                ("manage.py", ""),
                ("shop/wsgi.py", ""),
                ("shop/settings.py", "STATIC_ROOT = 'static'\n"),
            ],
        ),
        (
            "rails-sqlite",
            &[
                ("Gemfile", "gem 'rails'\ngem 'sqlite3'\n"),
                ("bin/rails", ""),
            ],
        ),
        (
            "phoenix",
            &[
                (
                    "mix.exs",
                    "[app: :shop]\n{:phoenix, \"1\"}, {:postgrex, \"0\"}",
                ),
                ("lib/shop.ex", ""),
            ],
        ),
        (
            "go",
            &[
                ("go.mod", "module x\ngo 1.24\n"),
                ("main.go", "package main\n"),
            ],
        ),
        ("static", &[("index.html", "<html>")]),
        (
            "dockerfile",
            &[("Dockerfile", "FROM x\nEXPOSE 5000\nVOLUME /data\n")],
        ),
        (
            "procfile",
            &[
                ("Gemfile", ""),
                ("config.ru", ""),
                ("Procfile", "web: puma\nworker: jobs\nrelease: migrate\n"),
            ],
        ),
    ];
    for (name, files) in projects {
        let server = cloud("shop");
        let user = User::of(&server);
        put(&user, files);
        user.run("launch --name shop --yes --no-deploy").ok();
        assert_golden(&format!("launch-{name}.toml"), &text(&user, "fly.toml"));
        let checked = user.run("config validate --strict");
        assert_eq!(
            checked.ok(),
            "✓ fly.toml is valid\n",
            "{name}\n{}",
            text(&user, "fly.toml")
        );
    }
}

#[test]
fn secrets_are_made_once_and_shown_never() {
    let server = cloud("shop");
    let user = User::of(&server);
    put(
        &user,
        &[
            ("requirements.txt", "django\n"),
            ("manage.py", ""),
            ("shop/wsgi.py", ""),
        ],
    );
    let ran = user.run("launch --name shop --yes --no-deploy");
    let staged = server.asked_for("POST /v1/apps/shop/secrets")[0].json();
    let key = staged["values"]["SECRET_KEY"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 64);
    assert!(!ran.ok().contains(&key) && !ran.stderr.contains(&key));
    assert!(
        ran.stdout.contains("Set the secret SECRET_KEY\n"),
        "{ran:?}"
    );
    for file in ["fly.toml", "Dockerfile"] {
        assert!(!text(&user, file).contains(&key), "{file}");
    }
    // Launched again, the app keeps its key and its settings.
    server.says(
        "GET /v1/apps/shop/secrets",
        200,
        json!({ "secrets": [{ "name": "SECRET_KEY" }] }),
    );
    server.says(
        "GET /v1/apps/shop/secrets",
        200,
        json!({ "secrets": [{ "name": "SECRET_KEY" }] }),
    );
    let again = user.run("launch --yes --no-deploy");
    assert!(
        again.ok().contains("Wrote fly.toml") && again.stderr.contains("is there already"),
        "{again:?}"
    );
    assert_eq!(server.asked_for("POST /v1/apps?wait=true").len(), 1);
    // Under another name it is another app, and the file says so.
    server
        .says("POST /v1/apps?wait=true", 201, json!({ "id": "app_2" }))
        .says("GET /v1/apps/other", 200, app("other"))
        .says(
            "GET /v1/apps/other/secrets",
            200,
            json!({ "secrets": [{ "name": "SECRET_KEY" }] }),
        );
    user.run("launch --name other --yes --no-deploy").ok();
    let config = text(&user, "fly.toml");
    assert!(config.starts_with("# How other is built"), "{config}");
}

#[test]
fn an_existing_configuration_is_taken_over_with_its_comments() {
    let server = cloud("mine");
    let user = User::of(&server);
    put(&user, NODE);
    put(
        &user,
        &[(
            "fly.toml",
            "# Ours.\napp = \"mine\"\nprimary_region = \"fra\" # near us\n\n[http_service]\n  internal_port = 3000 # as in server.js\n  force_https = true\n",
        )],
    );
    let asked = user.run("launch --name mine");
    assert!(asked.failed().contains("--copy-config"), "{asked:?}");
    let ran =
        user.run("launch --copy-config --yes --no-deploy --internal-port 4000 --vm-memory 512");
    assert!(ran.ok().contains("Wrote fly.toml"));
    assert_eq!(
        text(&user, "fly.toml"),
        "# Ours.\napp = \"mine\"\nprimary_region = \"fra\" # near us\n\n[http_service]\n  internal_port = 4000 # as in server.js\n  force_https = true\n\n\
         [[vm]]\nmemory = \"512mb\"\n"
    );
    let broken = User::of(&server);
    put(
        &broken,
        &[
            ("fly.toml", "app = 'mine'\nkill_timeout = 'soon'\n"),
            ("Dockerfile", "FROM x"),
        ],
    );
    assert!(broken.run("launch --yes").failed().contains("fly.toml:2:"));
}

#[test]
fn an_image_needs_no_sources() {
    let fresh = Server::start();
    fresh
        .says(
            "GET /v1/platform/regions",
            200,
            json!({ "Regions": [{ "code": "iad" }] }),
        )
        .says("POST /v1/apps?wait=true", 201, app("quick-river-1"))
        .says("GET /v1/apps/quick-river-1", 200, app("quick-river-1"));
    let user = User::of(&fresh);
    let ran = user.run("launch --image nginx:1.27 --internal-port 80 --generate-name --json --yes -e A=b --ha=false --no-deploy");
    let config: Value = serde_json::from_str(&text(&user, "fly.json")).unwrap();
    assert_eq!(config["app"], "quick-river-1");
    assert_eq!(config["build"], json!({ "image": "nginx:1.27" }));
    assert_eq!(config["http_service"]["internal_port"], 80);
    assert_eq!(config["env"], json!({ "A": "b" }));
    assert!(
        ran.ok().contains("deploy --image nginx:1.27 --ha=false"),
        "{ran:?}"
    );
    assert!(!user.path("Dockerfile").exists());
    assert_eq!(
        fresh.asked_for("POST /v1/apps?wait=true")[0]
            .json()
            .get("app_name"),
        None
    );
}

#[test]
fn nobody_to_ask_means_flags_or_nothing() {
    let server = cloud("shop");
    let user = User::of(&server);
    let begun = Instant::now();
    assert!(
        user.run("launch --name shop")
            .failed()
            .contains("could not tell what kind of app")
    );
    put(&user, NODE);
    for (line, says) in [
        ("launch --name shop", "--yes"),
        (
            "launch --name shop --yes --region lhr",
            "Regions are iad, fra",
        ),
        ("launch --name shop --yes --region far", "did you mean fra?"),
        (
            "launch --name shop --yes --vm-size shared-cpu-3x",
            "shared-cpu-4x",
        ),
        ("launch --name shop --yes --env A", "NAME=VALUE"),
        (
            "launch --name shop --yes --env FLY_A=1",
            "--env FLY_A: names that begin with FLY_ are set by the platform",
        ),
        (
            "launch --name shop --now --no-deploy",
            "use --yes --no-deploy",
        ),
        (
            "launch --name shop --yes --path none",
            "there is no directory none",
        ),
        (
            "launch --name shop --yes --dockerfile none",
            "there is no Dockerfile none",
        ),
        ("launch --name Shop_1 --yes", "use 1 to 63 of a-z"),
        (
            "launch --name shop --org persnal --yes",
            "did you mean personal?",
        ),
        (
            "launch --name shop --vm-memory 12 --yes",
            "--vm-memory 12 is not allowed",
        ),
        (
            "launch --name shop --yes --from none",
            "neither a directory",
        ),
    ] {
        let ran = user.run(line);
        assert!(ran.failed().contains(says), "{line}: {ran:?}");
        assert!(
            !ran.stdout.contains("Launch"),
            "{line} shows a plan: {ran:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(server.asked_for("POST").len(), 0);
    assert!(!user.path("fly.toml").exists() && !user.path("Dockerfile").exists());
    let fresh = Server::start();
    fresh
        .says(
            "GET /v1/platform/regions",
            200,
            json!({ "Regions": [{ "code": "iad" }] }),
        )
        .says(
            "POST /v1/apps?wait=true",
            422,
            json!({ "error": "Name has already been taken" }),
        );
    let user = User::of(&fresh);
    put(&user, NODE);
    let taken = user.run("launch --name shop --yes");
    assert_eq!(taken.code, Some(1));
    assert!(
        taken.stderr.contains("taken") && taken.stderr.contains("--generate-name"),
        "{taken:?}"
    );
    assert!(!user.path("fly.toml").exists());
}

#[test]
fn a_person_can_change_the_plan() {
    let server = cloud("other");
    let user = User::of(&server);
    put(&user, NODE);
    put(&user, &[(".dockerignore", "mine")]);
    let mut terminal = Terminal::new(40, 120);
    let mut child = terminal.run(&user, "launch --name shop --no-deploy");
    terminal.read_until("Change something before going on? (y/N)");
    terminal.types("y\n");
    terminal.read_until("Name [shop]:");
    terminal.types("other\n");
    terminal.read_until("Region [iad]:");
    terminal.types("far\n");
    terminal.read_until("Regions are iad, fra");
    terminal.types("fra\n");
    terminal.read_until("Port [3000]:");
    terminal.types("4000\n");
    terminal.read_until("Memory [1gb]:");
    terminal.types("7gb\n");
    terminal.read_until("--vm-memory 7168 is not allowed");
    terminal.types("2gb\n");
    terminal.read_until("To deploy it:");
    assert!(child.wait().unwrap().success());
    let config = text(&user, "fly.toml");
    for line in [
        "app = \"other\"",
        "primary_region = \"fra\"",
        "internal_port = 4000",
        "PORT = \"4000\"",
        "memory = \"2gb\"",
    ] {
        assert!(config.contains(line), "{line} is not in\n{config}");
    }
    assert_eq!(text(&user, ".dockerignore"), "mine");
}

#[test]
fn sources_come_from_a_directory_or_a_repository() {
    let server = cloud("copied");
    let user = User::of(&server);
    for (path, content) in NODE {
        put(&user, &[(&format!("template/{path}"), content)]);
    }
    put(
        &user,
        &[(
            "template/.git/config",
            "[remote]\nurl = git@github.com:a/b\n",
        )],
    );
    user.run("launch --from template --into copied --name copied --yes --no-deploy")
        .ok();
    assert!(text(&user, "copied/server.js").contains("listen"));
    assert!(text(&user, "copied/fly.toml").contains("app = \"copied\""));
    assert!(!user.path("copied/.git").exists());
    let again = user.run("launch --from template --into copied --name copied --yes --no-deploy");
    assert!(again.failed().contains("is not empty"));
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments);
        assert!(
            command
                .current_dir(user.path("template"))
                .env("HOME", user.path("."))
                .output()
                .unwrap()
                .status
                .success()
        );
    };
    std::fs::remove_dir_all(user.path("template/.git")).unwrap();
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "a"]);
    git(&["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let address = format!("file://{}", user.path("template").display());
    // The program looks git up in PATH.
    let user = user.with("PATH", &std::env::var("PATH").unwrap());
    user.run(&format!(
        "launch --from {address} --into cloned --name copied --yes --no-deploy"
    ))
    .ok();
    assert!(text(&user, "cloned/fly.toml").contains("app = \"copied\""));
    user.run("launch --from bare.git --into unpacked --name copied --yes --no-deploy")
        .ok();
    assert!(text(&user, "unpacked/server.js").contains("listen"));
    let missing = user.run("launch --from file:///nowhere/at/all --name copied --yes");
    assert!(
        missing.failed().contains("clone file:///nowhere"),
        "{missing:?}"
    );
}

#[test]
fn a_repository_on_github_gets_workflows() {
    let server = cloud("shop");
    let user = User::of(&server);
    put(&user, NODE);
    put(&user, &[(".git/config", "url = https://github.com/a/b")]);
    let ran = user.run("launch --name shop --yes --no-deploy --preview-workflow");
    assert!(ran.ok().contains("Wrote .github/workflows/fly-deploy.yml"));
    assert!(text(&user, ".github/workflows/fly-preview.yml").contains("APP: shop-pr-"));
    assert!(ran.stderr.contains("FLY_API_TOKEN"), "{ran:?}");
    // What somebody changed stays with --now; nobody builds here.
    put(&user, &[(".github/workflows/fly-deploy.yml", "mine")]);
    let now = user.run("launch --now");
    assert!(now.stderr.contains("==> Building shop"), "{now:?}");
    assert_eq!(text(&user, ".github/workflows/fly-deploy.yml"), "mine");
    let without = User::of(&server);
    put(&without, NODE);
    put(&without, &[(".git/config", "url = https://github.com/a/b")]);
    without
        .run("launch --name shop --yes --no-deploy --no-github-workflow")
        .ok();
    assert!(!without.path(".github").exists());
}

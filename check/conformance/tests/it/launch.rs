//! From sources to a running app by what `launch` wrote and said.

use std::fs;
use std::path::Path;
use std::process::Command;

use mayfly_conformance::{Stage, tool};
use mayfly_testing::wait_until;

#[test]
fn the_workflows_of_a_launch_are_what_github_runs() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let sources = cli.home().join("shop");
    fs::create_dir_all(sources.join(".git")).unwrap();
    // Where the sources are on GitHub, as git writes it.
    fs::write(
        sources.join(".git/config"),
        "[remote \"origin\"]\n\turl = git@github.com:example/shop.git\n",
    )
    .unwrap();
    fs::write(sources.join("Dockerfile"), "FROM hello:latest\n").unwrap();
    let path = sources.to_str().expect("a plain path");
    let launch =
        "launch --path HERE --name shop --yes --internal-port 8080 --no-deploy --preview-workflow";
    let launched = cli.run(launch.split(' ').map(|word| word.replace("HERE", path)));
    launched.ok();
    let workflows = sources.join(".github/workflows");
    let files: Vec<_> = fs::read_dir(&workflows)
        .unwrap_or_else(|error| panic!("{error}: {launched:?}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 2, "{files:?} {launched:?}");
    let lint = || {
        // Other programs that it would ask are not everywhere.
        let lint = Command::new(tool("actionlint"))
            .args(["-no-color", "-shellcheck=", "-pyflakes="])
            .current_dir(&sources)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&lint.stdout).into_owned();
        (lint.status.success(), said)
    };
    let (fine, said) = lint();
    assert!(fine, "{said}");
    // It looks into our action: an input that it does not have is a mistake.
    let deploy = workflows.join("fly-deploy.yml");
    let text = fs::read_to_string(&deploy).unwrap();
    assert!(text.contains("program:"), "{text}");
    fs::write(&deploy, text.replace("program:", "programme:")).unwrap();
    let (fine, said) = lint();
    assert!(!fine && said.contains("programme"), "{said}");
}

/// The systems' own schemas; of GitHub's workflows actionlint knows more.
const SCHEMAS: [(&str, &str, &str); 4] = [
    ("gitlab", ".gitlab-ci.yml", "vendor.gitlab-ci"),
    ("circleci", ".circleci/config.yml", "vendor.circle-ci"),
    (
        "bitbucket",
        "bitbucket-pipelines.yml",
        "vendor.bitbucket-pipelines",
    ),
    ("buildkite", ".buildkite/pipeline.yml", "vendor.buildkite"),
];

fn schema_check(schema: &str, file: &Path) -> (bool, String) {
    let check = Command::new(tool("schema-checker").join("bin/check-jsonschema"))
        .args(["--builtin-schema", schema])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    (check.status.success(), said)
}

#[test]
fn files_for_other_systems_are_by_their_schemas() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let sources = cli.home().join("shop");
    fs::create_dir(&sources).unwrap();
    let path = sources.to_str().expect("a plain path");
    for (system, file, schema) in SCHEMAS {
        let line = "ci init SYSTEM --app stage --path HERE --preview-org previews";
        let words = line.split(' ');
        let init = cli.run(words.map(|word| word.replace("HERE", path).replace("SYSTEM", system)));
        assert!(init.ok().contains("Wrote"), "{init:?}");
        assert!(init.stderr.contains("FLY_PREVIEW_TOKEN"), "{init:?}");
        let file = sources.join(file);
        let (fine, said) = schema_check(schema, &file);
        assert!(fine, "{system}: {said}");
        // The check is none if it takes everything.
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\njobs: 1\nsteps: 1\npipelines: 1\n")).unwrap();
        let (fine, said) = schema_check(schema, &file);
        assert!(!fine, "{system}: {said}");
    }
}

#[test]
fn what_a_launch_says_comes_next_runs_the_app() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let sources = cli.home().join("shop");
    fs::create_dir_all(sources.join("shop")).unwrap();
    for (path, text) in [
        ("requirements.txt", "django\n"),
        ("manage.py", ""),
        ("shop/wsgi.py", ""),
    ] {
        fs::write(sources.join(path), text).unwrap();
    }
    let path = sources.to_str().expect("a plain path");
    let run = |line: &str| cli.run(line.split(' ').map(|word| word.replace("HERE", path)));

    let launched = run("launch --path HERE --name shop --yes --internal-port 8080 --no-deploy");
    assert!(launched.ok().contains("Created app shop"), "{launched:?}");
    assert!(sources.join("Dockerfile").is_file());
    run("config validate --strict --config HERE").ok();
    let known = run("config show --local --config HERE").json();
    assert_eq!(known["app"], "shop");
    assert!(run("apps list").ok().contains("shop"));

    // Launched again from an image, it is the same app with the settings it has.
    let again = run("launch --path HERE --image hello:latest --yes");
    let said = again.ok();
    assert!(!said.contains("Created app"), "{said}");
    assert!(said.contains("v1 of shop is live"), "{said}");
    let listed = run("ips list --app shop");
    let ips = listed.ok();
    for kind in ["public (shared)", "public (dedicated)"] {
        assert!(ips.contains(kind), "{ips}");
    }
    run("deploy --config HERE --image hello:latest --flycast").ok();
    let listed = run("ips list --app shop");
    assert!(listed.ok().contains("private"), "{listed:?}");
    // A launched app wants HTTPS: without it the edge leads there.
    wait_until("the app answers", || {
        let answer = stage.cloud.visit("shop", "/");
        answer.is_ok_and(|answer| answer.status == 301)
    });

    // What its machine is comes back as a configuration, into the file without its comments' loss.
    let remote = run("config show --app shop").json();
    assert_eq!(remote["http_service"]["internal_port"], 8080, "{remote}");
    let file = sources.join("fly.toml");
    fs::write(
        &file,
        format!("# Kept.\n{}", fs::read_to_string(&file).unwrap()),
    )
    .unwrap();
    run("config save --app shop --config HERE --yes").ok();
    let saved = fs::read_to_string(&file).unwrap();
    assert!(saved.starts_with("# Kept.\n"), "{saved}");
    run("config validate --config HERE").ok();
}

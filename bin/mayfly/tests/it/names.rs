use serde_json::json;

use crate::runner::User;
use crate::sample;
use crate::server::Server;

#[test]
fn every_name_and_alias_prints_the_same_bytes() {
    let server = Server::start();
    server.says("GET /v1/apps/web/machines", 200, json!([sample::machine()]));
    let printed = |name: &str, line: &str| {
        let user = User::of(&server).calling(name);
        user.run(line).ok().to_owned()
    };
    let first = printed("fly", "machines list -a web");
    assert_eq!(first, printed("flyctl", "m list -a web"));
    assert_eq!(first, printed("mayfly", "machine ls --app web"));
}

#[test]
fn messages_use_the_name_the_program_was_called_by() {
    for name in ["mayfly", "fly", "flyctl"] {
        let user = User::stranger().calling(name);
        let version = user.run("version");
        let line = format!("{name} v{} linux/", env!("CARGO_PKG_VERSION"));
        assert!(version.ok().starts_with(&line), "{version:?}");
        assert!(version.stdout.contains("Commit: ") && version.stdout.contains("BuildDate: "));
        assert_eq!(user.run("version --json").json()["Name"], name);
        let help = user.run("--help");
        assert!(help.ok().contains(&format!("Usage: {name} ")), "{help:?}");
        let refused = user.run("apps list");
        assert!(
            refused.failed().contains(&format!("`{name} auth login`")),
            "{refused:?}"
        );
    }
}

#[test]
fn completions_exist_for_every_shell_under_every_name() {
    let user = User::stranger().calling("fly");
    for (shell, mark) in [
        ("bash", "complete -F _fly"),
        ("zsh", "#compdef fly"),
        ("fish", "complete -c fly"),
    ] {
        let script = user.run(&format!("completion {shell}"));
        assert!(script.ok().contains(mark), "{shell}");
        assert!(script.stdout.contains("suspend"), "{shell}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let user = User::stranger();
    assert!(user.run("man").ok().contains(".TH"));
    user.run("man --directory pages").ok();
    let page = |name: &str| std::fs::read_to_string(user.path("pages").join(name)).unwrap();
    assert!(page("mayfly.1").contains("mayfly"));
    assert!(page("mayfly-machine-run.1").contains("\\-\\-schedule"));
    let copies = std::fs::read_dir(user.path("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.contains("-help"));
    assert_eq!(copies, None);
}

#[test]
fn a_configuration_that_is_named_is_there() {
    let user = User::stranger()
        .with("FLY_API_TOKEN", "secret")
        .with("FLY_FLAPS_BASE_URL", "http://127.0.0.1:9");
    let ran = user.run("machine run busybox sh -c true --app web");
    assert!(ran.failed().contains("there is no file true"), "{ran:?}");
    assert!(ran.failed().contains("-- sh -c COMMAND"), "{ran:?}");
}

#[test]
fn typing_errors_get_suggestions() {
    let user = User::stranger();
    for (line, meant) in [
        ("machin list", "machine"),
        ("machine strat", "start"),
        ("machine list --jsn", "--json"),
        ("apps lst", "list"),
    ] {
        let ran = user.run(line);
        assert_eq!(ran.code, Some(2), "{line}");
        assert!(ran.stderr.contains(meant), "{line}: {}", ran.stderr);
    }
}

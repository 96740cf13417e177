//! Who the user is, which cloud and which app they mean.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::runner::User;
use crate::sample;
use crate::server::Server;

fn cloud() -> Server {
    let server = Server::start();
    server
        .says("GET /v1/apps", 200, json!({ "apps": [] }))
        .says(
            "GET /v1/tokens/current",
            200,
            json!({ "user": { "email": "ann@example.com" } }),
        );
    server
}

#[test]
fn the_token_is_taken_from_flag_then_environment_then_file() {
    let server = cloud();
    let last = || server.asked().last().unwrap().authorization.clone();
    let home = |user: &User| {
        fs::create_dir_all(user.path(".mayfly")).unwrap();
        fs::write(user.path(".mayfly/config.yml"), "access_token: from-file\n").unwrap();
    };
    let user = User::stranger().with("FLY_FLAPS_BASE_URL", &server.url());
    home(&user);
    user.run("apps list").ok();
    assert_eq!(last(), "Bearer from-file");
    let user = user.with("FLY_API_TOKEN", "from-api-token");
    user.run("apps list").ok();
    assert_eq!(last(), "Bearer from-api-token");
    let user = user.with("FLY_ACCESS_TOKEN", "FlyV1 fm2_macaroon,fo1_other");
    user.run("apps list").ok();
    assert_eq!(last(), "FlyV1 fm2_macaroon");
    user.run("apps list -t from-flag").ok();
    assert_eq!(last(), "Bearer from-flag");
    // The first variable that is present decides, even when it is empty.
    let user = user.with("FLY_ACCESS_TOKEN", "");
    assert!(user.run("apps list").failed().contains("not authenticated"));
}

#[test]
fn the_address_comes_from_the_environment_then_the_file() {
    let (server, other) = (cloud(), cloud());
    let user = User::stranger();
    fs::create_dir_all(user.path("conf")).unwrap();
    let text = format!("access_token: a\nflaps_base_url: {}\n", server.url());
    fs::write(user.path("conf/config.yml"), text).unwrap();
    let directory = user.path("conf").display().to_string();
    let user = user.with("FLY_CONFIG_DIR", &directory);
    user.run("apps list").ok();
    assert_eq!(server.asked().len(), 1);
    let user = user.with("FLY_FLAPS_BASE_URL", &format!("{}/", other.url()));
    user.run("apps list").ok();
    assert_eq!((server.asked().len(), other.asked().len()), (1, 1));
    assert_eq!(other.asked()[0].line, "GET /v1/apps");
}

#[test]
fn a_token_in_the_environment_needs_no_home() {
    let server = cloud();
    let user = User::of(&server);
    let mut command = user.command(["apps", "list"]);
    let output = command.env_remove("HOME").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_app_is_taken_from_flag_then_environment_then_file() {
    let server = Server::start();
    server.says("GET /v1/apps/", 200, json!([]));
    let user = User::of(&server);
    let last = || server.asked().last().unwrap().line.clone();
    let nothing = user.run("machine list");
    for way in ["--app", "FLY_APP", "fly.toml"] {
        assert!(nothing.failed().contains(way), "{nothing:?}");
    }
    fs::write(user.path("fly.toml"), "app = 'in-file'\n").unwrap();
    fs::write(user.path("dev.toml"), "app = 'in-dev'\n").unwrap();
    user.run("machine list").ok();
    assert_eq!(last(), "GET /v1/apps/in-file/machines");
    user.run("machine list -c dev.toml").ok();
    assert_eq!(last(), "GET /v1/apps/in-dev/machines");
    let user = user.with("FLY_APP", "in-env");
    user.run("machine list").ok();
    assert_eq!(last(), "GET /v1/apps/in-env/machines");
    user.run("machine list -a in-flag").ok();
    assert_eq!(last(), "GET /v1/apps/in-flag/machines");
}

#[test]
fn signing_in_and_out() {
    let server = cloud();
    let user = User::stranger().with("FLY_FLAPS_BASE_URL", &server.url());
    let file = user.path(".mayfly/config.yml");
    assert!(
        user.run("auth whoami")
            .failed()
            .contains("not authenticated")
    );
    assert!(user.run("auth login").failed().contains("--token"));
    let signed_in = user.run_with_input("auth login", b"tok-1\n");
    assert!(signed_in.ok().contains("ann@example.com"), "{signed_in:?}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(user.run("auth whoami").ok(), "ann@example.com\n");
    assert_eq!(user.run("auth token").ok(), "tok-1\n");
    assert_eq!(
        user.run("auth token --json").json(),
        json!({ "token": "tok-1" })
    );
    user.run("auth login -t tok-2").ok();
    assert_eq!(user.run("auth token -q").ok(), "tok-2\n");
    user.run("auth logout").ok();
    assert!(
        user.run("auth token")
            .failed()
            .contains("not authenticated")
    );
    let reminded = user.with("FLY_API_TOKEN", "x").run("auth logout");
    assert!(reminded.stderr.contains("FLY_API_TOKEN"), "{reminded:?}");
}

#[test]
fn a_refused_token_replaces_nothing() {
    let server = Server::start();
    server
        .says(
            "GET /v1/tokens/current",
            200,
            json!({ "user": { "email": "a@b.c" } }),
        )
        .says(
            "GET /v1/tokens/current",
            401,
            json!({ "error": "unknown token" }),
        );
    let user = User::stranger().with("FLY_FLAPS_BASE_URL", &server.url());
    user.run("auth login -t good").ok();
    let refused = user.run("auth login -t bad");
    assert!(refused.failed().contains("unknown token"), "{refused:?}");
    assert_eq!(user.run("auth token").ok(), "good\n");
}

#[test]
fn failures_name_cause_and_remedy() {
    let server = Server::start();
    server
        .says(
            "GET /v1/apps/gone",
            404,
            json!({ "error": "app not found" }),
        )
        .says(
            "GET /v1/apps/denied",
            401,
            json!({ "error": "invalid token" }),
        )
        .says("GET /v1/apps/broken", 500, "<html>oops</html>")
        .says("GET /v1/apps/web", 200, sample::app())
        .says("GET /v1/apps/web/machines", 200, json!([sample::machine()]))
        .says("GET /v1/apps/web/machines/", 200, sample::machine())
        .says(
            "POST /v1/apps/web/machines/",
            409,
            json!({ "error": "lease currently held by ann@example.com" }),
        );
    let user = User::of(&server);
    let said = |line: &str| user.run(line).failed().to_owned();
    let gone = said("status -a gone");
    assert!(
        gone.contains("Could not find App \"gone\"") && gone.contains("apps list"),
        "{gone}"
    );
    let denied = said("status -a denied");
    assert!(
        denied.contains("invalid token") && denied.contains("auth login"),
        "{denied}"
    );
    assert!(said("status -a broken").contains("oops"));
    let leased = said("machine cordon still-pond-1 -a web").replace("Activating", "");
    assert!(
        leased.contains("held by ann@example.com") && leased.contains("leases clear"),
        "{leased}"
    );
    let closed = User::stranger()
        .with("FLY_API_TOKEN", "a")
        .with("FLY_FLAPS_BASE_URL", "http://127.0.0.1:1");
    let unreachable = closed.run("apps list");
    assert!(
        unreachable.failed().contains("127.0.0.1:1") && unreachable.stderr.contains("mayfly up"),
        "{unreachable:?}"
    );
}

#[test]
fn busy_clouds_are_asked_again() {
    let server = Server::start();
    for status in [503, 429, 502] {
        server.says("GET /v1/apps", status, json!({ "error": "busy" }));
    }
    server.says("GET /v1/apps", 200, json!({ "apps": [sample::app()] }));
    assert_eq!(User::of(&server).run("apps list -q").ok(), "web\n");
    assert_eq!(server.asked().len(), 4);
}

//! Nobody can be asked: commands fail at once and name the flag, and change nothing.

use serde_json::json;

use crate::runner::User;
use crate::sample::{self, ID};
use crate::server::Server;

#[test]
fn questions_become_failures_that_name_the_flag() {
    let server = Server::start();
    server
        .says(
            "GET /v1/apps/none",
            404,
            json!({ "error": "app not found" }),
        )
        .says("GET /v1/apps/web", 200, sample::app())
        .says("GET /v1/apps/web/volumes", 200, json!([]))
        .says("GET /v1/apps/web/machines", 200, json!([sample::machine()]))
        .says("GET /v1/apps/web/machines/", 200, sample::machine());
    let user = User::of(&server);
    std::fs::write(user.path("fly.toml"), "# empty").unwrap();
    for (line, names) in [
        ("apps destroy web".to_owned(), "--yes"),
        ("apps create".to_owned(), "--generate-name"),
        ("orgs create".to_owned(), "NAME"),
        ("image prune".to_owned(), "--yes"),
        (format!("machine update {ID} -a web --env B=2"), "--yes"),
        (
            "machine destroy -a web --image library/nginx:1.27".to_owned(),
            "--yes",
        ),
        ("machine status -a web".to_owned(), "ID"),
        ("machine start -a web".to_owned(), "ID"),
        ("machine run nginx -a none".to_owned(), "Could not find App"),
        (format!("machine exec {ID} -a web --tty sh"), "--tty"),
        ("status -a web --watch".to_owned(), "--watch"),
        ("auth login".to_owned(), "--token"),
    ] {
        let ran = user.run(&line);
        assert!(ran.failed().contains(names), "{line}: {ran:?}");
    }
    let changes: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert!(
        changes.iter().all(|line| line.starts_with("GET ")),
        "{changes:?}"
    );
}

#[test]
fn flags_answer_the_questions() {
    let server = Server::start();
    server
        .says("DELETE /v1/apps/web", 202, "")
        .says(
            "POST /v1/images/prune",
            200,
            json!({ "images": ["a:1"], "layers": 2, "freed_bytes": 1500 }),
        )
        .says(
            "POST /v1/apps",
            201,
            json!({ "id": "1", "name": "quiet-hill-7" }),
        );
    let user = User::of(&server);
    assert_eq!(user.run("apps destroy web -y").ok(), "Destroyed app web\n");
    assert_eq!(
        user.run("image prune --yes").ok(),
        "Removed a:1\n1 images and 2 layers removed, 1.5 kB freed\n"
    );
    let created = user.run("apps create --generate-name --save");
    assert_eq!(created.ok(), "New app created: quiet-hill-7\n");
    assert_eq!(
        std::fs::read_to_string(user.path("fly.toml")).unwrap(),
        "app = \"quiet-hill-7\"\n"
    );
    let again = user.run("apps create web --save");
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("--yes"), "{again:?}");
    let asked = server.asked_for("POST /v1/apps")[1].json();
    assert_eq!(
        (&asked["app_name"], &asked["org_slug"]),
        (&json!("web"), &json!("personal"))
    );
    assert!(
        asked["idempotency_key"]
            .as_str()
            .is_some_and(|key| key.len() == 32)
    );
}

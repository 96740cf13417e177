use std::thread;

use mayfly_conformance::{Clients, Stage, tool};
use serde_json::json;

use super::{clients_of, in_registry};

#[test]
fn what_a_client_pushes_machines_run_and_releases_keep() {
    let stage = Stage::set();
    let clients = clients_of(&stage);
    let (first, second) = (clients.image("first", 3 << 20), clients.image("second", 9));
    let target = in_registry(&stage, "stage:latest");
    clients.copy(&first, &target).unwrap();

    for name in ["registry.fly.io", "registry.mayfly.localhost"] {
        let image = format!("{name}/stage:latest");
        let id = stage.start(json!({"image": image, "restart": {"policy": "no"}}));
        stage.line_with(&id, "first");
        let machine = stage.get(&id);
        assert_eq!(machine["image_ref"]["registry"], name);
        assert_eq!(machine["image_ref"]["repository"], "stage");
    }
    // A tag that moves on does not move what was made of it.
    let image = "registry.fly.io/stage";
    let machine = stage.create(json!({"image": image, "restart": {"policy": "no"}}));
    let id = machine["id"].as_str().unwrap().to_owned();
    clients.copy(&second, &target).unwrap();
    stage.wait(&id, "started");
    stage.act(&id, "restart", json!({}));
    stage.line_with(&id, "first");
    let lines = stage.log_lines(&id);
    let moved = lines.iter().any(|line| line.contains("second"));
    assert!(!moved, "{lines:?}");

    let out = format!("oci:{}:image:v1", clients.path("out").display());
    clients.copy(&target, &out).unwrap();
    assert_eq!(clients.digest("out"), clients.digest("second"));
    for (from, to) in [(&first, "nobodys:v1"), (&first, "mirror/docker.io/a:v1")] {
        clients.copy(from, &in_registry(&stage, to)).unwrap_err();
    }
    let stranger = Clients::new();
    stranger.log_in(&[&stage.cloud.api().to_string()], "guessed");
    let refused = stranger.copy(&first, &target).unwrap_err();
    assert!(refused.contains("unauthorized"), "{refused}");
}

#[test]
fn releases_keep_their_image_and_machines_follow_a_tag_when_told() {
    let stage = Stage::set();
    let clients = clients_of(&stage);
    let target = in_registry(&stage, "stage:latest");
    let image = "registry.fly.io/stage:latest";
    let push = |word: &str| {
        clients.copy(&clients.image(word, 9), &target).unwrap();
        clients.digest(word)
    };
    let cli = stage.cloud.cli();
    let must = |words: &[&str]| cli.run(words.iter().copied()).ok().to_owned();
    let text = "app = \"stage\"\nprimary_region = \"iad\"\n";
    std::fs::write(cli.home().join("fly.toml"), text).unwrap();
    let deploy = [
        "deploy",
        "--image",
        image,
        "--smoke-checks=false",
        "--ha=false",
    ];
    let shown = |digest: &str| must(&["image", "show"]).contains(digest);

    let first = push("first");
    must(&deploy);
    assert!(shown(&first));
    // Whoever pushes after a deployment changes nothing that was deployed.
    let second = push("second");
    must(&[
        "deploy",
        "--smoke-checks=false",
        "--ha=false",
        "--env",
        "A=1",
    ]);
    assert!(shown(&first), "{}", must(&["image", "show"]));
    must(&deploy);
    assert!(shown(&second));
    must(&["releases", "rollback", "1", "--yes"]);
    assert!(shown(&first));

    // The tag's image by command, as for apps that are not deployed.
    let said = must(&["image", "update", "--yes"]);
    assert!(said.contains(image), "{said}");
    assert!(shown(&second));
    let said = must(&["image", "update", "--yes"]);
    assert!(said.contains("Nothing to update"), "{said}");
    let pinned = format!("registry.fly.io/stage@{first}");
    must(&["image", "update", "--image", &pinned, "--yes"]);
    // It is a release like any other.
    let newest = cli.run(["releases", "--image", "--json"]).json()[0].clone();
    assert_eq!(newest["description"], format!("Image {pinned}"));
    assert!(
        newest["image_ref"]
            .as_str()
            .unwrap()
            .contains(first.as_str()),
        "{newest}"
    );
    let json = cli.run(["image", "show", "--json"]).json();
    assert_eq!(json[0]["digest"], first.as_str());
    let id = json[0]["machine_id"].as_str().unwrap();
    assert!(must(&["image", "show", id]).contains(&first));
}

#[test]
fn tokens_open_what_they_are_for() {
    let stage = Stage::set();
    let orgs = "/v1/orgs";
    let org = json!({"name": "Rivals", "slug": "rivals"});
    stage.cloud.post(orgs, org).ok();
    stage.create_app("theirs", "rivals");
    let cli = stage.cloud.cli();
    let token = |words: &[&str]| {
        let words = [&["tokens", "create"], words].concat();
        cli.run(words).ok().trim().to_owned()
    };
    let deploy = token(&["deploy", "-a", "stage"]);
    let reads = token(&["readonly", "personal"]);
    let rivals = token(&["org", "-o", "rivals"]);
    let login = |token: &str| {
        let clients = Clients::new();
        clients.log_in(&[&stage.cloud.api().to_string()], token);
        clients
    };
    let target = |name: &str| in_registry(&stage, name);
    let (deploy, reads, rivals) = (login(&deploy), login(&reads), login(&rivals));
    let image = deploy.image("word", 9);
    let out = |clients: &Clients| format!("oci:{}:image:v1", clients.path("out").display());

    deploy.copy(&image, &target("stage:v1")).unwrap();
    deploy.copy(&image, &target("theirs:v1")).unwrap_err();
    reads.copy(&target("stage:v1"), &out(&reads)).unwrap();
    let refused = reads.copy(&image, &target("stage:v2")).unwrap_err();
    assert!(refused.contains("only reads"), "{refused}");
    rivals.copy(&image, &target("theirs:v1")).unwrap();
    for name in ["stage:v1", "stage/deep:v1"] {
        rivals.copy(&image, &target(name)).unwrap_err();
        rivals.copy(&target(name), &out(&rivals)).unwrap_err();
    }
    // Nor does a machine run another organization's image.
    let config = json!({"config": {"image": "registry.fly.io/theirs:v1"}});
    let answer = stage.cloud.post(&stage.path(""), config);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("not of this organization"));
}

#[test]
fn podman_logs_in_by_the_command_line_pushes_and_pulls() {
    let stage = Stage::set();
    let cli = stage.cloud.cli();
    let said = cli.run(["auth", "docker"]);
    let address = stage.cloud.api().to_string();
    assert!(said.ok().contains(&address), "{}", said.stdout);
    let clients = Clients::new();
    let login = cli.home().join(".docker/config.json");
    std::fs::copy(login, clients.path("auth.json")).unwrap();

    let image = clients.image("word", 1 << 20);
    let archive = format!("oci-archive:{}", clients.path("word.tar").display());
    clients.copy(&image, &archive).unwrap();
    let loaded = clients.podman(&["pull", "-q", &archive]).unwrap();
    let target = format!("{address}/stage:podman");
    let push = ["push", "--tls-verify=false", loaded.trim(), &target];
    clients.podman(&push).unwrap();
    clients.podman(&["rmi", "--all", "--force"]).unwrap();
    let pull = ["pull", "-q", "--tls-verify=false", &target];
    let pulled = clients.podman(&pull).unwrap();
    assert_eq!(pulled, loaded, "the same image, by its configuration");
    let id = stage.start(json!({"image": "registry.fly.io/stage:podman"}));
    stage.line_with(&id, "word");
}

#[test]
fn crane_logs_in_pushes_appends_copies_and_lists() {
    let stage = Stage::set();
    stage.create_app("other", "personal");
    let address = stage.cloud.api().to_string();
    let clients = Clients::new();
    let program = tool("crane");
    let crane = |words: &[&str]| {
        let words = [words, &["--insecure"]].concat();
        clients.run(&program.to_string_lossy(), &words)
    };
    let must = |words: &[&str]| crane(words).unwrap().trim().to_owned();
    let login = |token: &str| crane(&["auth", "login", &address, "-u", "x", "-p", token]);
    let (image, copied) = (format!("{address}/stage:v1"), format!("{address}/other:v1"));
    clients.image("word", 1 << 20);
    let layout = clients.path("word");
    let layout = layout.to_string_lossy();
    let refused = crane(&["push", &layout, &image]).unwrap_err();
    assert!(refused.contains("401 Unauthorized"), "{refused}");
    login(stage.cloud.token()).unwrap();

    must(&["push", &layout, &image]);
    assert_eq!(must(&["digest", &image]), clients.digest("word"));
    must(&["validate", "--remote", &image]);
    // Blobs are mounted from one repository into the other.
    must(&["cp", &image, &copied]);
    assert_eq!(must(&["digest", &copied]), clients.digest("word"));
    std::fs::create_dir(clients.path("more")).unwrap();
    std::fs::write(clients.path("more/more"), "appended").unwrap();
    let (more, archive) = (clients.path("more"), clients.path("more.tar"));
    let (more, archive) = (more.to_string_lossy(), archive.to_string_lossy());
    clients
        .run("tar", &["-C", &more, "-cf", &archive, "more"])
        .unwrap();
    must(&[
        "append",
        "-b",
        &image,
        "-f",
        &archive,
        "-t",
        &format!("{address}/stage:v2"),
    ]);
    must(&["tag", &format!("{address}/stage:v2"), "latest"]);
    assert_eq!(must(&["ls", &format!("{address}/stage")]), "latest\nv1\nv2");
    assert!(must(&["manifest", &image]).contains("\"layers\""));
    let exported = clients.path("exported.tar");
    must(&[
        "export",
        &format!("{address}/stage"),
        &exported.to_string_lossy(),
    ]);
    let listed = clients
        .run("tar", &["-tf", &exported.to_string_lossy()])
        .unwrap();
    assert!(listed.lines().any(|line| line == "more"), "{listed}");
    let id = stage.start(json!({"image": "registry.fly.io/stage"}));
    stage.line_with(&id, "word");
    assert_eq!(stage.exec(&id, "cat /more").stdout, "appended");
    must(&["delete", &copied]);
    crane(&["manifest", &copied]).unwrap_err();
}

#[test]
fn the_same_layers_pushed_at_once_are_all_there() {
    let stage = Stage::set();
    stage.create_app("other", "personal");
    let clients = clients_of(&stage);
    let image = clients.image("same", 16 << 20);
    let targets = ["stage:a", "stage:b", "stage/deep:c", "other:d"];
    thread::scope(|scope| {
        for target in targets {
            let target = in_registry(&stage, target);
            let (clients, image) = (&clients, &image);
            scope.spawn(move || clients.copy(image, &target).unwrap());
        }
    });
    for (place, target) in targets.iter().enumerate() {
        let out = clients.path(&format!("out{place}"));
        let to = format!("oci:{}:image:v1", out.display());
        clients.copy(&in_registry(&stage, target), &to).unwrap();
        assert_eq!(
            clients.digest(&format!("out{place}")),
            clients.digest("same")
        );
    }
    // Three layers, a configuration and a manifest, once.
    let blobs = std::fs::read_dir(stage.cloud.data_dir().join("registry/blobs")).unwrap();
    assert_eq!(blobs.count(), 5);
    let uploads = std::fs::read_dir(stage.cloud.data_dir().join("registry/uploads")).unwrap();
    assert_eq!(uploads.count(), 0);
}

use mayfly_conformance::{Clients, Stage};
use mayfly_testing::{CloudOptions, DockerRegistry};
use serde_json::json;

#[test]
fn images_of_elsewhere_come_through_the_mirror_and_imported_ones_without_a_network() {
    let hub = DockerRegistry::start();
    let config = format!(
        "[images.registries]\n\"docker.io\" = \"http://{}\"\n[registry]\nmirror_fresh = \"0s\"\n",
        hub.address()
    );
    let stage = Stage::set_with(CloudOptions {
        config: Some(config),
        ..CloudOptions::default()
    });
    let address = stage.cloud.api().to_string();
    let clients = Clients::new();
    clients.log_in(&[&address], stage.cloud.token());
    clients.mirror("docker.io", &format!("{address}/mirror/docker.io"));
    let node = clients.image("node", 2 << 20);
    let upstream = format!("docker://{}/library/node:20-slim", hub.address());
    clients.copy(&node, &upstream).unwrap();

    let pull = |name: &str, out: &str| {
        let from = format!("docker://docker.io/{name}");
        let to = format!("oci:{}:image:v1", clients.path(out).display());
        let settings = clients.path("registries.conf");
        let settings = ["--registries-conf", &*settings.to_string_lossy()];
        let copy = ["copy", "--insecure-policy", &from, &to];
        clients.run("skopeo", &[&settings[..], &copy[..]].concat())
    };
    pull("library/node:20-slim", "first").unwrap();
    assert_eq!(clients.digest("first"), clients.digest("node"));
    // Machines find the registry at the same place.
    let id = stage.start(json!({"image": "node:20-slim"}));
    stage.line_with(&id, "node");

    // As docker and containerd ask.
    let bearer = format!("Bearer {}", stage.cloud.token());
    for path in [
        "/v2/library/node/manifests/20-slim",
        "/v2/library/node/manifests/20-slim?ns=docker.io",
    ] {
        let fields = [("authorization", bearer.as_str())];
        let method = mayfly_testing::Method::Get;
        let found = mayfly_testing::send(stage.cloud.api(), method, path, &fields, b"").unwrap();
        let digest = found.header("docker-content-digest");
        assert_eq!(digest, Some(clients.digest("node").as_str()), "{path}");
    }

    // Without its registry, what was brought is there.
    drop(hub);
    pull("library/node:20-slim", "second").unwrap();
    assert_eq!(clients.digest("second"), clients.digest("node"));
    pull("library/python:3", "third").unwrap_err();

    // And what was imported, by the name that Dockerfiles use.
    let python = clients.image("python", 1 << 20);
    let archive = clients.path("python.tar");
    let saved = format!("docker-archive:{}:python:3", archive.display());
    clients.copy(&python, &saved).unwrap();
    let archive = archive.to_string_lossy().into_owned();
    let cli = stage.cloud.cli();
    cli.run(["image", "import", &archive, "--name", "python:3"])
        .ok();
    let pulled = clients.podman(&["pull", "-q", "docker.io/library/python:3"]);
    assert_eq!(pulled.unwrap().trim().len(), 64);
    let script = "FROM python:3\nCOPY added /srv/added\n";
    std::fs::write(clients.path("Dockerfile"), script).unwrap();
    std::fs::write(clients.path("added"), "more").unwrap();
    let file = clients.path("Dockerfile");
    let (file, context) = (
        file.to_string_lossy(),
        clients.directory().to_string_lossy(),
    );
    let build = ["build", "-q", "--pull-always", "-f", &*file, &*context];
    clients.podman(&build).unwrap();
}

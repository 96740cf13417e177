use std::fs;

use mayfly_conformance::{Clients, Stage};
use mayfly_testing::{Method, send};

const NAME: &str = "registry.mayfly.localhost";

/// curl to the edge by the registry's name, with the cloud's own authority as the only one.
fn curl(stage: &Stage, clients: &Clients, path: &str, more: &[&str]) -> Result<String, String> {
    let port = stage.cloud.edge_tls().port();
    let here = format!("{NAME}:{port}:127.0.0.1");
    let url = format!("https://{NAME}:{port}{path}");
    let root = clients.path("certs/ca.crt").to_string_lossy().into_owned();
    let mut arguments = vec!["-sS", "--resolve", &here, "--cacert", &root];
    arguments.extend(["-o", "/dev/null", "-w", "%{http_code}"]);
    arguments.extend(more);
    arguments.push(&url);
    clients.run("curl", &arguments)
}

/// A token for one address is good at the edge from there, whatever else a client says of itself.
fn only_from_its_own_place(stage: &Stage, clients: &Clients) {
    let words = [
        "tokens",
        "create",
        "deploy",
        "-a",
        "stage",
        "--source",
        "127.0.0.9/32",
    ];
    let made = stage.cloud.cli().run(words);
    let user = format!("x:{}", made.ok().trim().trim_start_matches("FlyV1 "));
    let path = "/v2/stage/manifests/tls";
    let from = |place: &str, more: &[&str]| {
        let all = [&["-u", &user, "--interface", place], more].concat();
        curl(stage, clients, path, &all).unwrap()
    };
    assert_eq!(from("127.0.0.9", &[]), "200");
    assert_eq!(from("127.0.0.8", &[]), "403");
    let lies = [
        "X-Forwarded-For: 127.0.0.9",
        "Forwarded: for=127.0.0.9",
        "Fly-Client-IP: 127.0.0.9",
        "X-Real-IP: 127.0.0.9",
    ];
    let lies: Vec<&str> = lies.iter().flat_map(|lie| ["-H", lie]).collect();
    assert_eq!(from("127.0.0.8", &lies), "403");
    let all = [
        "-u",
        &user,
        "--interface",
        "127.0.0.8",
        "--haproxy-protocol",
    ];
    assert!(curl(stage, clients, path, &all).is_err());
}

#[test]
fn the_edge_leads_to_the_registry_over_tls_and_to_nothing_else() {
    let stage = Stage::set();
    let clients = Clients::new();
    let root = send(
        stage.cloud.api(),
        Method::Get,
        "/v1/authority/root.pem",
        &[],
        b"",
    )
    .unwrap();
    fs::create_dir(clients.path("certs")).unwrap();
    fs::write(clients.path("certs/ca.crt"), root.text()).unwrap();
    let user = format!("x:{}", stage.cloud.token());
    assert_eq!(curl(&stage, &clients, "/v2/", &[]).unwrap(), "401");
    assert_eq!(
        curl(&stage, &clients, "/v2/", &["-u", &user]).unwrap(),
        "200"
    );
    // The rest of the API is not there, with or without a token.
    for path in ["/v1/apps", "/v1/status", "/", "/v2x", "/healthz"] {
        let answer = curl(&stage, &clients, path, &["-u", &user]).unwrap();
        assert_eq!(answer, "404", "{path}");
    }

    // A stock client, which finds the name in a file of its own.
    let address = format!("{NAME}:{}", stage.cloud.edge_tls().port());
    clients.log_in(&[&address], stage.cloud.token());
    fs::write(
        clients.path("hosts"),
        format!("127.0.0.1 localhost {NAME}\n"),
    )
    .unwrap();
    let image = clients.image("tls", 5 << 20);
    let script = format!(
        "mount --bind {hosts} /etc/hosts && skopeo copy --insecure-policy --dest-cert-dir {certs} {image} docker://{address}/stage:tls",
        hosts = clients.path("hosts").display(),
        certs = clients.path("certs").display(),
    );
    clients
        .run("unshare", &["--mount", "sh", "-c", &script])
        .unwrap();
    let back = format!("docker://{}/stage:tls", stage.cloud.api());
    let out = format!("oci:{}:image:v1", clients.path("out").display());
    clients.log_in(&[&stage.cloud.api().to_string()], stage.cloud.token());
    clients.copy(&back, &out).unwrap();
    assert_eq!(clients.digest("out"), clients.digest("tls"));
    only_from_its_own_place(&stage, &clients);
    let taken = serde_json::json!({"app_name": "registry", "org_slug": "personal"});
    assert_eq!(stage.cloud.post("/v1/apps", taken).status, 422);
}

//! Names and certificates, seen by curl and openssl as visitors see them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use mayfly_conformance::{Pebble, Stage};
use mayfly_testing::{CloudOptions, FakeDns, wait_for, wait_until};
use serde_json::{Value, json};

const PATH: &str = "/v1/apps/stage/certificates";

fn stage(config: &str) -> Stage {
    Stage::set_with(CloudOptions {
        config: Some(config.to_owned()),
        ..CloudOptions::default()
    })
}

/// A program that answers `hello` to everything, on the usual ports.
fn serve(stage: &Stage) {
    stage.start(json!({
        "image": "hello:latest",
        "services": [{
            "internal_port": 8080,
            "protocol": "tcp",
            "ports": [
                { "port": 80, "handlers": ["http"] },
                { "port": 443, "handlers": ["tls", "http"] },
            ],
        }],
    }));
}

/// The root of the cloud's own authority, in a file.
fn local_root(stage: &Stage) -> PathBuf {
    let file = stage.cloud.data_dir().join("trusted.pem");
    let printed = stage.cloud.cli().run(["trust", "--print"]);
    std::fs::write(&file, printed.ok()).unwrap();
    file
}

/// Status and errors of curl for `https://<name>/`, checking the certificate against `root`.
fn visit(edge: SocketAddr, name: &str, root: &Path) -> Result<u16, String> {
    let port = edge.port();
    let output = Command::new("curl")
        .args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--max-time",
            "20",
        ])
        .arg("--cacert")
        .arg(root)
        .args(["--resolve", &format!("{name}:{port}:{}", edge.ip())])
        .arg(format!("https://{name}:{port}/"))
        .output()
        .expect("curl can be run");
    if output.status.success() {
        let code = String::from_utf8_lossy(&output.stdout).into_owned();
        return code.parse().map_err(|_| code);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The serial number of what the edge shows for `name`.
fn serial(edge: SocketAddr, name: &str) -> String {
    let script = format!(
        "openssl s_client -connect {edge} -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn detail(stage: &Stage, hostname: &str) -> Value {
    stage.cloud.get(&format!("{PATH}/{hostname}")).expect(200)
}

fn wait_active(stage: &Stage, hostname: &str) {
    wait_for(&format!("a certificate for {hostname}"), || {
        (detail(stage, hostname)["status"] == "active").then_some(())
    });
}

#[test]
fn the_apps_own_name_is_good_without_action() {
    let stage = stage("");
    serve(&stage);
    let root = local_root(&stage);
    let edge = stage.cloud.edge_tls();
    wait_until("the platform's certificate is served", || {
        visit(edge, "stage.mayfly.localhost", &root) == Ok(200)
    });
    // Nobody else's root will do.
    let system = Path::new("/etc/ssl/certs/ca-certificates.crt");
    assert!(visit(edge, "stage.mayfly.localhost", system).is_err());
}

#[test]
fn an_imported_certificate_is_served_before_dns_moves() {
    let dns = FakeDns::start();
    let stage = stage(&format!("[dns]\nservers = [\"{}\"]\n", dns.address()));
    serve(&stage);
    let home = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=shop.test".split(' '))
        .args(["-addext", "subjectAltName=DNS:shop.test,DNS:*.shop.test"])
        .args(["-keyout", "key.pem", "-out", "chain.pem"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    let path = |name: &str| home.path().join(name).display().to_string();
    let cli = stage.cloud.cli();
    let import = |hostname: &str, key: &str| {
        let (chain, key) = (path("chain.pem"), path(key));
        cli.run([
            "certs",
            "import",
            hostname,
            "-a",
            "stage",
            "--fullchain",
            &chain,
            "--private-key",
            &key,
        ])
    };
    assert!(
        import("other.test", "key.pem")
            .refused()
            .contains("not for other.test")
    );
    assert!(
        import("shop.test", "chain.pem")
            .refused()
            .contains("private_key")
    );
    import("shop.test", "key.pem").ok();
    let edge = stage.cloud.edge_tls();
    let chain = home.path().join("chain.pem");
    wait_until("the imported certificate is served", || {
        visit(edge, "shop.test", &chain).is_ok()
    });
    let list = cli.run(["certs", "list", "-a", "stage"]);
    assert!(
        list.ok().contains("shop.test") && list.ok().contains("Ready"),
        "{}",
        list.ok()
    );
    cli.run(["certs", "remove", "shop.test", "-a", "stage", "--yes"])
        .ok();
    wait_until("it is no longer served", || {
        visit(edge, "shop.test", &chain).is_err()
    });
}

/// A cloud that gets its certificates from Pebble.
struct Acme {
    stage: Stage,
    pebble: Pebble,
    dns: FakeDns,
}

impl Acme {
    fn start(lifetime_s: u32, broken_tls: bool) -> Self {
        Self::start_with(lifetime_s, broken_tls, "")
    }

    /// With `more` lines of the section about the authority.
    fn start_with(lifetime_s: u32, broken_tls: bool, more: &str) -> Self {
        let (dns, mut pebble) = (FakeDns::start(), Pebble::prepare());
        let config = pebble.config(dns.address());
        let stage = stage(&config.replace("[acme]\n", &format!("[acme]\n{more}")));
        serve(&stage);
        let tls_port = if broken_tls {
            9
        } else {
            stage.cloud.edge_tls().port()
        };
        pebble.start(
            stage.cloud.edge().port(),
            tls_port,
            dns.address(),
            lifetime_s,
        );
        Self { stage, pebble, dns }
    }

    fn add(&self, hostname: &str) {
        self.stage
            .cloud
            .cli()
            .run(["certs", "add", hostname, "-a", "stage"])
            .ok();
    }

    fn visit(&self, name: &str) -> Result<u16, String> {
        visit(self.stage.cloud.edge_tls(), name, &self.pebble.root())
    }
}

#[test]
fn acme_in_a_handshake() {
    let acme = Acme::start(90 * 24 * 3600, false);
    acme.dns.point("www.shop.test", "127.0.0.1");
    acme.add("www.shop.test");
    wait_active(&acme.stage, "www.shop.test");
    wait_until("its certificate is served", || {
        acme.visit("www.shop.test").is_ok()
    });
    assert_eq!(methods(&acme.stage), ["tls-alpn-01"]);
    let cli = acme.stage.cloud.cli();
    let shown = cli.run(["certs", "check", "www.shop.test", "-a", "stage"]);
    assert!(shown.ok().contains("has been issued"), "{}", shown.ok());
}

/// How names were proved, one after the other.
fn methods(stage: &Stage) -> Vec<String> {
    let events = stage
        .cloud
        .get("/v1/events?app=stage&limit=1000")
        .expect(200);
    let events = events["events"].as_array().cloned().unwrap_or_default();
    let challenges = events
        .iter()
        .filter(|event| event["kind"] == "certificate.challenge");
    let methods = challenges.map(|event| event["after"]["method"].as_str().unwrap_or_default());
    methods.map(str::to_owned).collect()
}

#[test]
fn acme_by_a_file_where_no_handshake_gets_through() {
    let acme = Acme::start(90 * 24 * 3600, true);
    acme.dns.alias("www.shop.test", "stage.mayfly.localhost");
    acme.dns.point("stage.mayfly.localhost", "127.0.0.1");
    acme.add("www.shop.test");
    wait_active(&acme.stage, "www.shop.test");
    wait_until("its certificate is served", || {
        acme.visit("www.shop.test") == Ok(200)
    });
    assert_eq!(methods(&acme.stage), ["tls-alpn-01", "http-01"]);
}

#[test]
fn a_wildcard_is_proved_in_dns_before_traffic_moves() {
    let acme = Acme::start(90 * 24 * 3600, false);
    acme.add("*.shop.test");
    let path = format!("{PATH}/%2A.shop.test");
    let value = wait_for("the value of the text record", || {
        let detail = acme.stage.cloud.get(&path).expect(200);
        let value = &detail["dns_requirements"]["acme_challenge"]["values"][0];
        value.as_str().map(str::to_owned)
    });
    let setup = acme
        .stage
        .cloud
        .cli()
        .run(["certs", "setup", "*.shop.test", "-a", "stage"]);
    assert!(setup.ok().contains(&value), "{}", setup.ok());
    acme.dns.text("_acme-challenge.shop.test", &value);
    wait_active(&acme.stage, "%2A.shop.test");
    wait_until("its certificate is served", || {
        acme.visit("any.shop.test").is_ok()
    });
}

#[test]
fn a_wildcard_is_renewed_by_a_proof_in_the_clouds_own_zone() {
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let zone_server = listen.local_addr().unwrap();
    drop(listen);
    let zone = format!("challenge_zone = \"acme.test\"\nchallenge_listen = \"{zone_server}\"\n");
    let acme = Acme::start_with(24, false, &zone);
    acme.dns.delegate("acme.test", zone_server);
    acme.add("*.shop.test");
    let setup = acme
        .stage
        .cloud
        .cli()
        .run(["certs", "setup", "*.shop.test", "-a", "stage"]);
    assert!(
        setup
            .ok()
            .contains("CNAME  _acme-challenge.shop.test  shop.test.acme.test"),
        "{}",
        setup.ok()
    );
    acme.dns
        .alias("_acme-challenge.shop.test", "shop.test.acme.test");
    wait_active(&acme.stage, "%2A.shop.test");
    // With what was set once, a renewal has a proof of its own.
    let edge = acme.stage.cloud.edge_tls();
    let first = wait_for("its certificate is served", || {
        Some(serial(edge, "any.shop.test")).filter(|shown| !shown.is_empty())
    });
    wait_until("a renewal", || {
        let shown = serial(edge, "any.shop.test");
        !shown.is_empty() && shown != first
    });
    assert!(
        methods(&acme.stage).iter().all(|method| method == "dns-01"),
        "{:?}",
        methods(&acme.stage)
    );
}

#[test]
fn an_order_survives_the_daemon_and_the_authoritys_memory() {
    let mut acme = Acme::start(90 * 24 * 3600, false);
    acme.dns.point("www.shop.test", "127.0.0.1");
    acme.add("www.shop.test");
    // At whatever step it is.
    acme.stage.cloud.crash_and_restart();
    wait_active(&acme.stage, "www.shop.test");
    let first = serial(acme.stage.cloud.edge_tls(), "www.shop.test");

    // A second order under an account the authority no longer knows.
    acme.pebble.stop();
    let (http, tls) = (
        acme.stage.cloud.edge().port(),
        acme.stage.cloud.edge_tls().port(),
    );
    acme.pebble
        .start(http, tls, acme.dns.address(), 90 * 24 * 3600);
    acme.dns.point("two.shop.test", "127.0.0.1");
    acme.add("two.shop.test");
    wait_active(&acme.stage, "two.shop.test");
    assert_eq!(serial(acme.stage.cloud.edge_tls(), "www.shop.test"), first);
}

#[test]
fn renewal_drops_no_connection() {
    let acme = Acme::start(24, false);
    acme.dns.point("www.shop.test", "127.0.0.1");
    acme.add("www.shop.test");
    wait_active(&acme.stage, "www.shop.test");
    wait_until("its certificate is served", || {
        acme.visit("www.shop.test").is_ok()
    });
    let edge = acme.stage.cloud.edge_tls();
    let first = serial(edge, "www.shop.test");
    let done = AtomicBool::new(false);
    let visits = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut visits = 0;
            while !done.load(Ordering::SeqCst) {
                acme.visit("www.shop.test").expect("a visit succeeds");
                visits += 1;
            }
            visits
        });
        let mut seen = vec![first];
        wait_until("two renewals", || {
            let shown = serial(edge, "www.shop.test");
            if !shown.is_empty() && seen.last() != Some(&shown) {
                seen.push(shown);
            }
            seen.len() > 2 || visitor.is_finished()
        });
        done.store(true, Ordering::SeqCst);
        visitor.join().expect("every visit succeeds")
    });
    assert!(visits > 2, "{visits} visits");
}

use mayfly_conformance::Clients;
use mayfly_testing::{TestFleet, wait_until};

#[test]
fn hosts_and_edges_of_other_servers_reach_the_registry() {
    let fleet = TestFleet::start(&["fra", "ams"], "");
    fleet.must(&["apps", "create", "web"]);
    let clients = Clients::new();
    let image = clients.image("carried", 6 << 20);
    let credentials = format!("x:{}", fleet.token());
    let push = |tag: &str| {
        let target = format!("docker://127.0.0.1:4280/web:{tag}");
        let flags = [
            "copy",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--dest-creds",
        ];
        let arguments = [&flags[..], &[&credentials, &image, &target]].concat();
        fleet.run_on(0, "skopeo", &arguments)
    };
    push("v1").unwrap();
    let said = |region: &str| {
        let logs = fleet.must(&["logs", "--app", "web", "--region", region, "--no-tail"]);
        logs.contains("carried")
    };
    let image = "registry.fly.io/web:v1";
    fleet.must(&["machine", "run", image, "--app", "web", "--region", "ams"]);
    wait_until("a machine elsewhere runs the image", || said("ams"));

    // A client at the other server's edge.
    let ask_from = |place: &str, credentials: &str, path: &str| {
        let url = format!("https://registry.mayfly.localhost:8443{path}");
        let here = "registry.mayfly.localhost:8443:127.0.0.1";
        let mut arguments = vec!["-sSk", "-u", credentials, "--resolve", here];
        arguments.extend(["--interface", place]);
        arguments.extend(["-o", "/dev/null", "-w", "%{http_code}", &url]);
        fleet.run_on(1, "curl", &arguments)
    };
    let ask = |path: &str| ask_from("127.0.0.1", &credentials, path);
    assert_eq!(ask("/v2/web/manifests/v1").unwrap(), "200");
    assert_eq!(ask("/v1/apps").unwrap(), "404");
    // Its address is told on the way between the servers.
    let words = [
        "tokens",
        "create",
        "deploy",
        "-a",
        "web",
        "--source",
        "127.0.0.9/32",
    ];
    let made = fleet.must(&words);
    let limited = format!("x:{}", made.trim().trim_start_matches("FlyV1 "));
    let ask = |place: &str| ask_from(place, &limited, "/v2/web/manifests/v1").unwrap();
    assert_eq!(ask("127.0.0.9"), "200");
    assert_eq!(ask("127.0.0.8"), "403");
}

use std::fs;
use std::path::Path;

use mayfly_conformance::{hello_archive, tool};
use mayfly_testing::{TestFleet, wait_until};

use super::BASE;

/// A directory with an app's sources.
fn write_sources(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::copy("/bin/busybox", path.join("busybox")).unwrap();
    let dockerfile = format!(
        "{BASE}FROM hello:latest\nCOPY word /word\nRUN echo \"found $(cat /word)\"\n\
         ENTRYPOINT [\"/bin/sh\", \"-c\", \"cat /word; exec sleep 100000\"]\n"
    );
    fs::write(path.join("Dockerfile"), dockerfile).unwrap();
    fs::write(path.join("word"), "carried-far\n").unwrap();
    fs::write(
        path.join("fly.toml"),
        "app = \"web\"\nprimary_region = \"fra\"\n",
    )
    .unwrap();
}

#[test]
fn the_builder_may_be_on_any_server() {
    let mut fleet = TestFleet::start(&["fra", "fra"], "");
    for (archive, name) in [
        (hello_archive(), "hello:latest"),
        (&*tool("builder.tar"), ""),
    ] {
        let archive = archive.to_string_lossy();
        let mut arguments = vec!["image", "import", &*archive];
        if !name.is_empty() {
            arguments.extend(["--name", name]);
        }
        fleet.must(&arguments);
    }
    fleet.must(&["apps", "create", "web"]);
    // The first server takes no new machines: the builder goes to the other.
    let hosts = fleet.json(&["hosts", "list", "--json"]);
    let hosts = hosts.as_array().unwrap();
    let first = hosts.iter().find(|host| host["control"] == true).unwrap();
    fleet.must(&["hosts", "cordon", first["id"].as_str().unwrap()]);
    let sources = fleet.data_dir(0).with_file_name("sources");
    write_sources(&sources);
    let sources = sources.to_string_lossy().into_owned();

    let deploy = ["deploy", &sources, "--ha=false", "--smoke-checks=false"];
    let said = fleet.must(&deploy);
    assert!(said.contains("v1 of web is live"), "{said}");
    let apps = fleet.must(&["apps", "list", "--quiet"]);
    let builder = apps.lines().find(|name| name.starts_with("fly-builder-"));
    let builder = builder.expect("there is a builder");
    let list = fleet.json(&["machine", "list", "--app", builder, "--json"]);
    let machine = list[0]["id"].as_str().unwrap();
    assert!(
        fleet.data_dir(1).join("machines").join(machine).exists(),
        "{list}"
    );
    wait_until("the image runs", || {
        let logs = fleet.must(&["logs", "--app", "web", "--no-tail"]);
        logs.contains("carried-far")
    });
    // Again, with its cache, also after its server's daemon was gone.
    fleet.kill_daemon(1);
    fleet.start_daemon(1);
    wait_until("a build works again", || {
        let built = fleet.mayfly(&["deploy", &sources, "--build-only", "--push"]);
        built.is_ok_and(|said| said.contains("image: "))
    });
}

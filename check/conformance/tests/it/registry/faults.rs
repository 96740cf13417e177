use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use mayfly_conformance::Stage;

use super::{clients_of, in_registry};

const ROUNDS: u64 = 6;

#[test]
fn uploads_survive_a_daemon_that_is_killed() {
    let mut stage = Stage::set();
    let clients = clients_of(&stage);
    let image = clients.image("heavy", 48 << 20);
    for round in 0..ROUNDS {
        let target = in_registry(&stage, &format!("stage:r{round}"));
        let mut push = clients
            .command("skopeo")
            .args(["copy", "--insecure-policy", "--dest-tls-verify=false"])
            .args([&image, &target])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the first bytes to after the last, whatever is under way then.
        thread::sleep(Duration::from_millis(90 * round + 40));
        stage.cloud.kill_daemon();
        push.kill().ok();
        push.wait().unwrap();
        stage.cloud.start_daemon();
        clients.copy(&image, &target).unwrap();
        let out = format!("out{round}");
        let to = format!("oci:{}:image:v1", clients.path(&out).display());
        clients.copy(&target, &to).unwrap();
        assert_eq!(clients.digest(&out), clients.digest("heavy"));
    }
    // Nothing half written is called by a digest: what skopeo pulled, it checked; every blob was pulled.
    let names = |place: &std::path::Path| -> BTreeSet<String> {
        let entries = fs::read_dir(place).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let pulled = names(&clients.path("out0/blobs/sha256"));
    assert_eq!(
        names(&stage.cloud.data_dir().join("registry/blobs")),
        pulled
    );
}

//! Our engine against another implementation: `wireguard-go`, configured by `wg`.

use std::net::Ipv6Addr;
use std::process::{Child, Command, Stdio};

use mayfly_runtime::TaskSet;
use mayfly_types::PeerKey;
use mayfly_wireguard::{Engine, PeerConfig, PrivateKey};

use crate::world::{PATIENCE, Place, Wire, ranges, run, unique, wait_until};

const OURS: Ipv6Addr = Ipv6Addr::new(0xfdaa, 0, 2, 0, 0, 0, 0, 1);
const THEIRS: Ipv6Addr = Ipv6Addr::new(0xfdaa, 0, 2, 0, 0, 0, 0, 2);

/// `wireguard-go` in a place, until dropped.
struct Foreign(Child);

impl Foreign {
    fn start(place: &Place, interface: &str) -> Foreign {
        let socket = format!("/var/run/wireguard/{interface}.sock");
        // Of a run that was killed; its name is ours now.
        let _ = std::fs::remove_file(&socket);
        let child = Command::new("nsenter")
            .arg(format!("--net={}", place.namespace.display()))
            .args(["wireguard-go", "-f", interface])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter runs");
        wait_until("wireguard-go listens", || {
            std::path::Path::new(&socket).exists()
        });
        Foreign(child)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn wireguard_go_and_wg_get_along_with_it() {
    if !installed("wireguard-go") || !installed("wg") {
        eprintln!("skipped: packages wireguard-go and wireguard-tools are not installed");
        return;
    }
    let wire = Wire::new();
    let interface = format!("wf{:x}", unique());
    let foreign = Foreign::start(&wire.right, &interface);
    let ours = wire
        .left
        .open(Engine::Userspace, "wgl", OURS, &["fdaa:0:2::/48"]);
    let key = PrivateKey::generate();
    let config = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\n[Peer]\nPublicKey = {}\nAllowedIPs = {OURS}/128\n",
        key.reveal(),
        ours.public_key()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wg.conf");
    std::fs::write(&file, config).unwrap();
    wire.right.shell(&format!(
        "wg setconf {interface} {} && ip addr add {THEIRS}/128 dev {interface} nodad && ip link set {interface} up mtu 1420 && \
         ip route add fdaa:0:2::/48 dev {interface}",
        file.display()
    ));
    let theirs: PeerKey = key.public();
    ours.set_peers(&[PeerConfig {
        public_key: theirs,
        preshared_key: None,
        endpoint: Some((wire.right.ip, 51820).into()),
        allowed_ips: ranges(&["fdaa:0:2::2/128"]),
        keepalive: None,
    }])
    .unwrap();
    let tasks = TaskSet::new();
    run(&tasks, &ours).await;
    let there = wire.right.listener(THEIRS);
    assert!(wire.left.reaches(OURS, &there, PATIENCE));
    let here = wire.left.listener(OURS);
    assert!(wire.right.reaches(THEIRS, &here, PATIENCE));
    let shown = wire.right.shell(&format!("wg show {interface} dump"));
    assert!(shown.contains(&ours.public_key().to_string()), "{shown}");
    drop(foreign);
    assert!(tasks.shut_down(PATIENCE).await);
}

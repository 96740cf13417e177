//! A device whose tunnel goes over a WebSocket, spoken as the official client does.

use std::process::{Child, Command, Stdio};

use crate::world::{Device, PATIENCE, World, until};

/// Carries datagrams between a port of the device and the gateway; ends when dropped.
struct Carrier(Child);

impl Drop for Carrier {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_passes_over_a_websocket() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let mut world = World::new().await;
    let web = world.machine(1, 1).await;
    let gateway = world.open(None).await;
    let info = gateway.info();
    let device = Device::new(&world, &info, 1, 0x8000_0001, ([127, 0, 0, 1], 4999).into());
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../check/conformance/peers/wireguard/over_websocket.py"
    );
    let port = info.websocket_port.unwrap().to_string();
    let host_ip = world.host_ip.to_string();
    let carrier = device.inside(|| {
        Command::new("python3")
            .args([script, &host_ip, &port, "4999"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut carrier = Carrier(carrier);
    world.publish(vec![device.entry(&info)]);
    assert!(device.reaches(&web, PATIENCE));
    until("the gateway knows it without an address", || {
        let peers = gateway.peers();
        peers[0].is_connected() && peers[0].endpoint.is_none()
    })
    .await;
    assert!(
        carrier.0.try_wait().unwrap().is_none(),
        "nothing that the official client would refuse"
    );
    drop(carrier);
    world.end().await;
}

//! A gateway in front of real machines' namespaces, with a device behind a wire. Needs root and `/dev/net/tun`.
#![allow(clippy::unwrap_used)]

mod websocket;
mod world;

use std::net::{Ipv6Addr, TcpListener};
use std::time::Duration;

use crate::world::{PATIENCE, SILENCE, World, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reaches_its_network_and_is_cut_off_when_it_is_removed() {
    let mut world = World::new().await;
    let (web, other) = (world.machine(1, 1).await, world.machine(2, 2).await);
    let gateway = world.open(None).await;
    let device = world.device(&gateway, 1, 0x8000_0001);
    let peer = device.entry(&gateway.info());
    world.publish(vec![peer.clone()]);
    let mut admitted = gateway.admitted();
    let key = device.public_key();
    let wait = admitted.wait_for(|keys| keys.contains(&key));
    tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();

    assert!(device.reaches(&web, PATIENCE), "at once");
    assert!(!device.reaches(&other, SILENCE), "another network");
    let listener = device.inside(|| TcpListener::bind((device.ip, 8080)).unwrap());
    assert!(world.machine_reaches(&web, device.ip));
    drop(listener);
    let status = gateway.peers();
    assert!(status[0].is_connected() && status[0].rx_bytes > 0);

    world.publish(Vec::new());
    let wait = admitted.wait_for(|keys| keys.is_empty());
    tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    assert!(!device.reaches(&web, SILENCE), "cut off");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_back_calls_its_devices() {
    let mut world = World::new().await;
    let web = world.machine(1, 1).await;
    let gateway = world.open(None).await;
    let device = world.device(&gateway, 1, 0x8000_0001);
    let peer = device.entry(&gateway.info());
    world.publish(vec![peer]);
    assert!(device.reaches(&web, PATIENCE));
    let file = world.folder().join("gateway/iad.endpoints");
    until("it is written down where the device is", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.len() > 10)
    })
    .await;
    let info = gateway.info();
    drop(gateway);
    world.close_gateway().await;
    // The kernel's WireGuard does without a gateway.
    let needs_gateway = info.wireguard == "userspace";
    assert_eq!(device.reaches(&web, SILENCE), !needs_gateway, "control");
    let again = world.open(Some(info.port)).await;
    assert_eq!(again.info().public_key, info.public_key);
    until("the device answers the call", || {
        again
            .peers()
            .first()
            .is_some_and(|peer| peer.is_connected())
    })
    .await;
    // Long before the device could find out that its keys are not known any more.
    assert!(device.reaches(&web, Duration::from_secs(8)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echoes_are_answered_at_the_address_of_names() {
    let mut world = World::new().await;
    let gateway = world.open(None).await;
    let device = world.device(&gateway, 1, 0x8000_0001);
    world.publish(vec![device.entry(&gateway.info())]);
    until("an echo", || {
        device.is_echoed(Ipv6Addr::new(0xfdaa, 0, 1, 0, 0, 0, 0, 3))
    })
    .await;
    world.end().await;
}

//! The network against the real kernel; needs root. Every test makes an instance of its own and leaves nothing.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mayfly_mesh::{
    Attachment, Flow, Guard, InterfaceShape, MachineTraffic, Mesh, Traffic, private_ip,
    shape_interface,
};
use mayfly_types::{HostId, MachineId, NetworkId};

use crate::world::{
    Internet, LocalAddress, connects, inside, ip_inside, is_shut, links_with, never_receives,
    receives, shell, unique,
};

struct Cloud {
    mesh: Option<Mesh>,
    directory: tempfile::TempDir,
    host: HostId,
}

impl Cloud {
    fn new() -> Cloud {
        let directory = tempfile::tempdir().unwrap();
        let mesh = Mesh::start(directory.path(), &[]).unwrap();
        Cloud {
            mesh: Some(mesh),
            directory,
            host: format!("{:08x}", unique()).parse().unwrap(),
        }
    }

    fn mesh(&self) -> &Mesh {
        self.mesh.as_ref().unwrap()
    }

    async fn machine(&self, network: u32, number: u8) -> Attachment {
        let attachment = Attachment {
            machine_id: MachineId::from_random([number; 14]),
            private_ip: private_ip(NetworkId(network), self.host, u32::from(number)),
            ipv4: self.mesh().ipv4_pool().nth(u32::from(number)).unwrap(),
        };
        self.mesh().attach(attachment).await.unwrap();
        attachment
    }

    fn listen(&self, machine: Attachment, address: IpAddr) -> TcpListener {
        let path = self.mesh().namespace_path(machine.machine_id);
        inside(&path, || TcpListener::bind((address, 8080)).unwrap())
    }

    fn reaches(&self, machine: Attachment, target: impl Into<SocketAddr>) -> bool {
        let path = self.mesh().namespace_path(machine.machine_id);
        let target = target.into();
        inside(&path, || connects(target))
    }

    fn misses(&self, machine: Attachment, target: impl Into<SocketAddr>) -> bool {
        let path = self.mesh().namespace_path(machine.machine_id);
        let target = target.into();
        inside(&path, || is_shut(target))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(mesh) = self.mesh.take() {
            mesh.dismantle().unwrap();
        }
    }
}

#[tokio::test]
async fn a_machine_reaches_its_own_network_and_no_other() {
    let cloud = Cloud::new();
    let (alice, bob) = (cloud.machine(1, 1).await, cloud.machine(1, 2).await);
    let mallory = cloud.machine(2, 3).await;
    let _web = cloud.listen(alice, Ipv6Addr::UNSPECIFIED.into());
    assert!(cloud.reaches(bob, (alice.private_ip, 8080)));
    assert!(
        cloud.misses(mallory, (alice.private_ip, 8080)),
        "other network"
    );
    assert!(cloud.misses(mallory, (alice.ipv4, 8080)), "by IPv4");
    assert!(
        cloud.misses(bob, (alice.ipv4, 8080)),
        "IPv4 is for the way out"
    );
}

#[tokio::test]
async fn the_host_reaches_machines_and_machines_do_not_reach_the_host() {
    let cloud = Cloud::new();
    let machine = cloud.machine(1, 1).await;
    let _web = cloud.listen(machine, Ipv6Addr::UNSPECIFIED.into());
    assert!(connects((machine.private_ip, 8080).into()));
    assert!(connects((machine.ipv4, 8080).into()));

    let api = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let port = api.local_addr().unwrap().port();
    assert!(connects((Ipv4Addr::LOCALHOST, port).into()), "control");
    let internet = Internet::new();
    assert!(connects((internet.host_v4, port).into()), "control");
    for address in [
        IpAddr::from(Ipv4Addr::new(169, 254, 1, 1)),
        internet.host_v4.into(),
        internet.host_v6.into(),
    ] {
        assert!(cloud.misses(machine, (address, port)), "{address}");
    }
    let link_local: SocketAddr = format!("[fe80::1%2]:{port}").parse().unwrap();
    assert!(cloud.misses(machine, link_local));
}

#[tokio::test]
async fn the_world_sees_the_host_s_address_and_gets_in_nowhere() {
    let cloud = Cloud::new();
    let machine = cloud.machine(1, 1).await;
    let internet = Internet::new();
    for (address, seen_as) in [
        (
            IpAddr::from(internet.world_v4),
            IpAddr::from(internet.host_v4),
        ),
        (internet.world_v6.into(), internet.host_v6.into()),
    ] {
        let server = inside(&internet.namespace, || {
            TcpListener::bind((address, 80)).unwrap()
        });
        assert!(cloud.reaches(machine, (address, 80)), "{address}");
        assert_eq!(server.accept().unwrap().1.ip(), seen_as);
    }
    let _web = cloud.listen(machine, Ipv6Addr::UNSPECIFIED.into());
    internet.route_back(&machine.private_ip.to_string(), &machine.ipv4.to_string());
    for target in [IpAddr::from(machine.ipv4), machine.private_ip.into()] {
        let target = SocketAddr::new(target, 8080);
        assert!(inside(&internet.namespace, || is_shut(target)), "{target}");
        assert!(connects(target), "control: the host reaches {target}");
    }
}

#[tokio::test]
async fn a_forged_source_gets_nowhere() {
    let cloud = Cloud::new();
    let (alice, bob) = (cloud.machine(1, 1).await, cloud.machine(1, 2).await);
    let (alice_path, bob_path) = (
        cloud.mesh().namespace_path(alice.machine_id),
        cloud.mesh().namespace_path(bob.machine_id),
    );
    assert!(receives(
        &bob_path,
        alice.private_ip,
        &alice_path,
        bob.private_ip
    ));
    let forged: Ipv6Addr = private_ip(NetworkId(1), HostId::from_random([9; 8]), 77);
    ip_inside(&bob_path, &format!("addr add {forged}/128 dev eth0 nodad"));
    assert!(never_receives(
        &bob_path,
        alice.private_ip,
        &alice_path,
        forged
    ));

    // An address of the other network's prefix must not open that network either.
    let mallory = cloud.machine(2, 3).await;
    let mallory_path = cloud.mesh().namespace_path(mallory.machine_id);
    ip_inside(
        &mallory_path,
        &format!("addr add {forged}/128 dev eth0 nodad"),
    );
    assert!(never_receives(
        &mallory_path,
        alice.private_ip,
        &alice_path,
        forged
    ));
}

#[tokio::test]
async fn attaching_again_completes_and_detaching_leaves_nothing() {
    let mut cloud = Cloud::new();
    let machine = cloud.machine(1, 1).await;
    let other = cloud.machine(1, 2).await;
    let path = cloud.mesh().namespace_path(machine.machine_id);
    let prefix = machine.private_ip.to_string();
    let prefix = prefix.strip_suffix("1:2").unwrap();
    assert_eq!(links_with(prefix), 2);
    // As a daemon that was killed: nothing is remembered, half of it is missing.
    let again = Mesh::start(cloud.directory.path(), &[]).unwrap();
    ip_inside(&path, "route del default");
    again.attach(machine).await.unwrap();
    assert_eq!(links_with(prefix), 2);
    let _web = cloud.listen(other, Ipv6Addr::UNSPECIFIED.into());
    assert!(cloud.reaches(machine, (other.private_ip, 8080)));
    let mut machines = again.machines().await.unwrap();
    machines.sort();
    assert_eq!(machines, [machine.machine_id, other.machine_id]);

    // A lost namespace, as after a reboot, is made anew.
    shell(&format!("umount -l {0} && rm {0}", path.display()));
    let restarted = Mesh::start(cloud.directory.path(), &[]).unwrap();
    restarted.attach(machine).await.unwrap();
    assert!(cloud.reaches(machine, (other.private_ip, 8080)));

    let table = shell("nft list tables");
    let pool = restarted.ipv4_pool().to_string();
    let table = table
        .lines()
        .filter_map(|line| line.strip_prefix("table inet "))
        .filter(|name| name.starts_with("mayfly_"))
        .find(|name| shell(&format!("nft list table inet {name}")).contains(&pool))
        .unwrap();
    let sets = shell(&format!("nft list table inet {table}"));
    assert!(sets.contains(&machine.ipv4.to_string()));
    restarted.detach(machine.machine_id).await.unwrap();
    restarted.detach(machine.machine_id).await.unwrap();
    let sets = shell(&format!("nft list table inet {table}"));
    assert!(!sets.contains(&machine.ipv4.to_string()));
    assert!(sets.contains(&other.ipv4.to_string()), "only its own");
    assert!(!path.exists());
    assert_eq!(links_with(prefix), 1);

    cloud.mesh.take().unwrap().dismantle().unwrap();
    assert!(!shell("nft list tables").contains(table));
    assert!(!shell("ip route show table main").contains(&pool));
    assert!(!shell("cat /proc/mounts").contains(path.parent().unwrap().to_str().unwrap()));
}

#[tokio::test]
async fn two_daemons_share_a_server() {
    let (ours, theirs) = (Cloud::new(), Cloud::new());
    assert_ne!(ours.mesh().ipv4_pool(), theirs.mesh().ipv4_pool());
    let (a, b) = (ours.machine(1, 1).await, ours.machine(1, 2).await);
    let stranger = theirs.machine(1, 3).await;
    let _web = ours.listen(a, Ipv6Addr::UNSPECIFIED.into());
    let _their_web = theirs.listen(stranger, Ipv6Addr::UNSPECIFIED.into());
    assert!(
        theirs.misses(stranger, (a.private_ip, 8080)),
        "same number, other cloud"
    );
    assert!(ours.misses(b, (stranger.private_ip, 8080)));
    assert_eq!(
        theirs.mesh().machines().await.unwrap(),
        [stranger.machine_id]
    );
    // Whichever address of the host the kernel would prefer: each daemon speaks from its own, which the other's end keeps.
    for (cloud, machine) in [(&ours, a), (&theirs, stranger)] {
        let stream = TcpStream::connect((machine.private_ip, 8080)).unwrap();
        let spoken_from = stream.local_addr().unwrap().ip();
        assert_eq!(spoken_from, cloud.mesh().names_address());
    }
    drop(theirs);
    assert!(ours.reaches(b, (a.private_ip, 8080)));
}

/// A user's device: what stands behind the interface of a gateway.
struct Device {
    name: String,
    namespace: PathBuf,
}

impl Device {
    /// Joined to the gateway's interface by a wire in the place of a tunnel, with these addresses. As in a tunnel, nobody
    /// asks for neighbours.
    fn behind(interface: &str, addresses: &[Ipv6Addr]) -> Device {
        let name = format!("td{:x}", unique());
        shell(&format!(
            "ip netns add {name} && ip link add {interface} type veth peer name wg netns {name} &&
             ip link set {interface} up && ip addr add fe80::1/64 dev {interface} nodad &&
             ip -n {name} link set wg up && ip -n {name} route add default via fe80::1 dev wg &&
             ip -n {name} neigh add fe80::1 dev wg lladdr $(cat /sys/class/net/{interface}/address)"
        ));
        for address in addresses {
            shell(&format!(
                "ip -n {name} addr add {address}/128 dev wg nodad && ip route add {address}/128 dev {interface} &&
                 ip neigh add {address} dev {interface} \
                    lladdr $(ip -n {name} -br link show wg | awk '{{ print $3 }}')"
            ));
        }
        let namespace = format!("/run/netns/{name}").into();
        Device { name, namespace }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        shell(&format!("ip netns del {}", self.name));
    }
}

#[tokio::test]
async fn a_user_s_device_reaches_its_network_as_itself_and_nothing_else() {
    let cloud = Cloud::new();
    let (web, other) = (cloud.machine(1, 1).await, cloud.machine(2, 2).await);
    let path = |machine: Attachment| cloud.mesh().namespace_path(machine.machine_id);
    let interface = cloud.mesh().gateway_interface(&"iad".parse().unwrap());
    let first: Ipv6Addr = private_ip(NetworkId(1), cloud.host, 0x8000_0001);
    let own = Ipv6Addr::from_bits(first.to_bits() + 3);
    let forged: Ipv6Addr = private_ip(NetworkId(1), cloud.host, 0x8000_0002);
    let device = Device::behind(&interface, &[own, forged]);
    let admit = |peers: &[Ipv6Addr]| {
        let range = |ip: &Ipv6Addr| Ipv6Addr::from_bits(ip.to_bits() & !0xff);
        let peers = peers.iter().map(range).collect();
        cloud.mesh().admit_peers(&interface, peers)
    };
    let namespace = &device.namespace;
    let refused = |source, machine: Attachment| {
        never_receives(namespace, machine.private_ip, &path(machine), source)
    };
    assert!(refused(own, web), "before it is admitted");
    admit(&[first]).await.unwrap();
    assert!(receives(namespace, web.private_ip, &path(web), own));
    assert!(refused(forged, web), "as another device");
    assert!(refused(own, other), "another network");
    assert!(receives(&path(web), own, namespace, web.private_ip), "back");
    assert!(never_receives(
        &path(other),
        own,
        namespace,
        other.private_ip
    ));

    let host = Path::new("/proc/self/ns/net");
    let internet = Internet::new();
    let world = &internet.namespace;
    assert!(receives(world, internet.host_v6, host, internet.world_v6));
    for address in [internet.host_v6, cloud.mesh().names_address()] {
        assert!(never_receives(namespace, address, host, own), "{address}");
    }
    assert!(never_receives(namespace, internet.world_v6, world, own));

    admit(&[]).await.unwrap();
    assert!(refused(own, web), "once it is gone");
    assert_eq!(cloud.mesh().machines().await.unwrap().len(), 2);
}

#[test]
fn an_interface_gets_exactly_the_wanted_shape_and_nothing_else() {
    let world = Internet::new();
    let shape = |addresses: &[&str], routes: &[&str]| InterfaceShape {
        name: "wan".to_owned(),
        mtu: 1420,
        addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
        routes: routes.iter().map(|one| one.parse().unwrap()).collect(),
    };
    let shown = || {
        let name = world.namespace.display();
        shell(&format!(
            "nsenter --net={name} sh -c 'ip -o link show wan; ip -o addr show wan; ip route; ip -6 route'"
        ))
    };
    let first = shape(
        &["fdaa:7::1", "192.0.2.9"],
        &["fdaa:7::/48", "fdaa:8::/48", "198.51.100.0/24"],
    );
    inside(&world.namespace, || shape_interface(&first).unwrap());
    let text = shown();
    for part in [
        "mtu 1420",
        "fdaa:7::1/128",
        "192.0.2.9/32",
        "fdaa:8::/48 dev wan",
        "198.51.100.0/24 dev wan",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains(&world.world_v4.to_string()), "{text}");
    let second = shape(&["fdaa:7::1"], &["fdaa:7::/48"]);
    inside(&world.namespace, || {
        shape_interface(&second).unwrap();
        shape_interface(&second).unwrap();
    });
    let text = shown();
    assert!(text.contains("fdaa:7::/48 dev wan"), "{text}");
    for part in ["fdaa:8::", "198.51.100.0", "192.0.2.9"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
    let absent = InterfaceShape {
        name: "nowhere".to_owned(),
        ..second
    };
    let error = inside(&world.namespace, || shape_interface(&absent).unwrap_err());
    assert_eq!(error.to_string(), "shape the interface nowhere");
}

#[tokio::test]
async fn all_addresses_of_a_machine_lead_to_it_and_may_be_used() {
    let cloud = Cloud::new();
    let (a, b) = (cloud.machine(1, 1).await, cloud.machine(1, 2).await);
    let second = Ipv6Addr::from_bits(a.private_ip.to_bits() | 0xffff);
    let _web = cloud.listen(a, Ipv6Addr::UNSPECIFIED.into());
    assert!(cloud.reaches(b, (second, 8080)));
    assert!(connects((second, 8080).into()), "from the host");
    let path = |machine: Attachment| cloud.mesh().namespace_path(machine.machine_id);
    ip_inside(&path(a), &format!("addr add {second}/128 dev eth0 nodad"));
    assert!(receives(&path(a), b.private_ip, &path(b), second));
    let stranger = cloud.machine(2, 3).await;
    assert!(cloud.misses(stranger, (second, 8080)));
}

fn tcp(range: &str, port: u16) -> Flow {
    Flow {
        range: range.parse().unwrap(),
        protocols: (6, 6),
        ports: (port, port),
    }
}

#[tokio::test]
async fn policies_hold_for_one_machine_and_end_what_they_forbid() {
    let cloud = Cloud::new();
    let (guarded, free) = (cloud.machine(1, 1).await, cloud.machine(1, 2).await);
    let internet = Internet::new();
    let server = inside(&internet.namespace, || {
        TcpListener::bind((internet.world_v4, 80)).unwrap()
    });
    let inner = cloud.listen(free, Ipv6Addr::UNSPECIFIED.into());
    let world = SocketAddr::from((internet.world_v4, 80));
    let mate = SocketAddr::from((free.private_ip, 8080));
    let enforce = async |guard: Guard| {
        let machine = MachineTraffic {
            outbound: guard,
            ..MachineTraffic::default()
        };
        let traffic = Traffic {
            machines: BTreeMap::from([(guarded.machine_id, machine)]),
            ..Traffic::default()
        };
        cloud.mesh().set_traffic(Arc::new(traffic)).await.unwrap();
    };
    assert!(cloud.reaches(guarded, world) && cloud.reaches(guarded, mate));

    let world_only = Guard {
        only_allowed: true,
        // Overlapping on purpose.
        allow: vec![
            tcp("198.18.0.0/15", 80),
            tcp("0.0.0.0/0", 80),
            tcp("::/0", 443),
        ],
        deny: Vec::new(),
    };
    enforce(world_only).await;
    assert!(cloud.reaches(guarded, world));
    assert!(cloud.misses(guarded, mate));
    assert!(cloud.reaches(free, mate), "another machine");
    // A restart of the daemon changes nothing.
    let _again = Mesh::start(cloud.directory.path(), &[]).unwrap();
    assert!(cloud.reaches(guarded, world) && cloud.misses(guarded, mate));

    enforce(Guard {
        deny: vec![tcp("0.0.0.0/0", 80)],
        ..Guard::default()
    })
    .await;
    assert!(cloud.misses(guarded, world));
    assert!(cloud.reaches(guarded, mate));

    // What was allowed before ends as well.
    enforce(Guard::default()).await;
    let path = cloud.mesh().namespace_path(guarded.machine_id);
    let mut stream = inside(&path, || TcpStream::connect(world).unwrap());
    server.set_nonblocking(true).unwrap();
    let mut accepted = loop {
        match server.accept() {
            Ok((stream, _)) if stream.peer_addr().is_ok() => break stream,
            _ => {}
        }
    };
    accepted.set_nonblocking(false).unwrap();
    enforce(Guard {
        only_allowed: true,
        ..Guard::default()
    })
    .await;
    Write::write_all(&mut stream, b"x").unwrap();
    accepted
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let read = Read::read(&mut accepted, &mut [0; 1]);
    // Earlier connections of this test were accepted first and have ended: those read nothing.
    assert!(!matches!(read, Ok(1)), "{read:?}");
    drop(inner);

    // Towards a machine: by whoever begins.
    let machine = MachineTraffic {
        inbound: Guard {
            only_allowed: true,
            allow: vec![tcp(&format!("{}/128", guarded.private_ip), 8080)],
            deny: Vec::new(),
        },
        ..MachineTraffic::default()
    };
    let third = cloud.machine(1, 3).await;
    let _inner = cloud.listen(free, Ipv6Addr::UNSPECIFIED.into());
    let traffic = Traffic {
        machines: BTreeMap::from([(free.machine_id, machine)]),
        ..Traffic::default()
    };
    cloud.mesh().set_traffic(Arc::new(traffic)).await.unwrap();
    assert!(cloud.reaches(guarded, mate));
    assert!(cloud.misses(third, mate));
    assert!(cloud.reaches(free, world), "answers to what it begins");
}

#[tokio::test]
async fn a_machine_leaves_as_the_address_it_was_given() {
    let cloud = Cloud::new();
    let (chosen, other) = (cloud.machine(1, 1).await, cloud.machine(1, 2).await);
    let internet = Internet::new();
    let (outside4, outside6) = internet.more_of_the_host();
    let machine = MachineTraffic {
        source4: Some((chosen.ipv4, outside4)),
        source6: Some((chosen.private_ip, outside6)),
        ..MachineTraffic::default()
    };
    let traffic = Traffic {
        machines: BTreeMap::from([(chosen.machine_id, machine)]),
        outward: BTreeSet::from([outside4.into(), outside6.into()]),
        ..Traffic::default()
    };
    cloud.mesh().set_traffic(Arc::new(traffic)).await.unwrap();
    for (world, given, usual) in [
        (
            IpAddr::from(internet.world_v4),
            IpAddr::from(outside4),
            IpAddr::from(internet.host_v4),
        ),
        (
            internet.world_v6.into(),
            outside6.into(),
            internet.host_v6.into(),
        ),
    ] {
        let server = inside(&internet.namespace, || {
            TcpListener::bind((world, 80)).unwrap()
        });
        for (machine, seen_as) in [(chosen, given), (other, usual)] {
            assert!(cloud.reaches(machine, (world, 80)), "{world}");
            assert_eq!(server.accept().unwrap().1.ip(), seen_as);
        }
        // Nothing of the host is reached by an address that is for leaving.
        let listener = TcpListener::bind(("::", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let usual = SocketAddr::new(usual, port);
        assert!(inside(&internet.namespace, || connects(usual)), "control");
        let given = SocketAddr::new(given, port);
        assert!(inside(&internet.namespace, || is_shut(given)), "{given}");
    }
}

#[tokio::test]
async fn machines_reach_of_the_host_what_the_world_reaches() {
    let cloud = Cloud::new();
    let machine = cloud.machine(1, 1).await;
    let internet = Internet::new();
    let (app4, app6) = internet.more_of_the_host();
    let door = TcpListener::bind((internet.host_v4, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let _edge = TcpListener::bind(("::", door.port())).unwrap();
    let of_app = [IpAddr::from(app4), app6.into()].map(|ip| TcpListener::bind((ip, 0)).unwrap());
    let of_app = of_app
        .each_ref()
        .map(|listener| listener.local_addr().unwrap());
    for address in [door, of_app[0], of_app[1]] {
        assert!(cloud.misses(machine, address), "{address}");
    }
    let traffic = Traffic {
        public: BTreeSet::from([app4.into(), app6.into()]),
        doors: BTreeSet::from([door]),
        ..Traffic::default()
    };
    cloud.mesh().set_traffic(Arc::new(traffic)).await.unwrap();
    for address in [door, of_app[0], of_app[1]] {
        assert!(cloud.reaches(machine, address), "{address}");
    }
    // Not what listens everywhere, by an app's address; not another port of the edge's.
    let everywhere = TcpListener::bind(("::", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _everywhere = TcpListener::bind(("::", everywhere)).unwrap();
    for address in [IpAddr::from(app4), app6.into(), internet.host_v4.into()] {
        assert!(cloud.misses(machine, (address, everywhere)), "{address}");
    }
}

#[tokio::test]
async fn addresses_of_apps_inside_networks_are_the_server_s_own() {
    let _cloud = Cloud::new();
    let internet = Internet::new();
    // Of network 7, as the edge listens on one.
    let number = unique();
    let (high, low) = ((number >> 16) as u16, number as u16);
    let flycast = Ipv6Addr::new(0xfdaa, 0, 7, 0, 1, high, low, 9);
    let _local = LocalAddress::new(flycast);
    internet.route(flycast);
    let listener = TcpListener::bind((flycast, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    assert!(connects(target), "a program of the server");
    assert!(inside(&internet.namespace, || is_shut(target)), "the world");
    // The way is there: what listens everywhere is reached by another address.
    let everywhere = TcpListener::bind(("::", 0)).unwrap();
    let open = SocketAddr::from((internet.host_v6, everywhere.local_addr().unwrap().port()));
    assert!(inside(&internet.namespace, || connects(open)), "control");
}

#[tokio::test]
async fn of_other_servers_machines_reach_the_edges() {
    let cloud = Cloud::new();
    let machine = cloud.machine(1, 1).await;
    let internet = Internet::new();
    let there = [IpAddr::from(internet.world_v4), internet.world_v6.into()];
    let _edge = inside(&internet.namespace, || {
        TcpListener::bind(("::", 80)).unwrap()
    });
    for (edge, reached) in [(80, true), (81, false)] {
        let traffic = Traffic {
            servers: there.into(),
            doors: BTreeSet::from([SocketAddr::from((internet.host_v4, edge))]),
            ..Traffic::default()
        };
        cloud.mesh().set_traffic(Arc::new(traffic)).await.unwrap();
        for ip in there {
            match reached {
                true => assert!(cloud.reaches(machine, (ip, 80)), "{ip}"),
                false => assert!(cloud.misses(machine, (ip, 80)), "{ip}"),
            }
        }
    }
}

#[tokio::test]
async fn a_program_s_own_port_22_wins_over_the_shell_door_as_long_as_it_listens() {
    let cloud = Cloud::new();
    let (machine, other) = (cloud.machine(1, 1).await, cloud.machine(1, 2).await);
    let path = cloud.mesh().namespace_path(machine.machine_id);
    let target = SocketAddr::from((machine.private_ip, 22));
    let open = || {
        cloud
            .mesh()
            .shell_door(machine.machine_id, machine.private_ip)
    };
    // As after a restart of the daemon: the rules of the first are still there.
    drop(open().await.unwrap());
    let door = open().await.unwrap();
    door.set_nonblocking(true).unwrap();
    let arrived = || poll_accept(&door);

    let clients: [(&str, &dyn Fn() -> TcpStream); 3] = [
        ("another machine", &|| {
            inside(&cloud.mesh().namespace_path(other.machine_id), || {
                TcpStream::connect(target).unwrap()
            })
        }),
        ("the machine itself", &|| {
            inside(&path, || TcpStream::connect(target).unwrap())
        }),
        ("the host", &|| TcpStream::connect(target).unwrap()),
    ];
    for (who, connect) in &clients {
        let client = connect();
        let inner = arrived().unwrap_or_else(|| panic!("{who} is not led to the door"));
        assert_eq!(inner.local_addr().unwrap(), target);
        assert_eq!(inner.peer_addr().unwrap(), client.local_addr().unwrap());
        for own in ["[::]:22".to_owned(), target.to_string()] {
            let program = inside(&path, || TcpListener::bind(&own))
                .unwrap_or_else(|error| panic!("{own}: {error}"));
            let _client = connect();
            program.set_nonblocking(true).unwrap();
            assert!(
                poll_accept(&program).is_some(),
                "{own} is skipped for {who}"
            );
            assert!(door.accept().is_err(), "{who}, {own}");
            // What began at the door stays there.
            assert_still_connected(&client, &inner);
        }
    }
}

fn poll_accept(listener: &TcpListener) -> Option<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Ok((stream, _)) = listener.accept() {
            return Some(stream);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

fn assert_still_connected(mut client: &TcpStream, mut inner: &TcpStream) {
    inner.set_nonblocking(false).unwrap();
    let patience = Some(Duration::from_secs(10));
    client.set_read_timeout(patience).unwrap();
    inner.set_read_timeout(patience).unwrap();
    let mut byte = [0];
    client.write_all(b"q").unwrap();
    inner.read_exact(&mut byte).unwrap();
    inner.write_all(b"a").unwrap();
    client.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"a");
}

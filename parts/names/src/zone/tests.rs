use std::net::Ipv4Addr;

use mayfly_edge_api::{AssignedAddress, DirectoryApp};
use mayfly_types::{AppId, InstanceId, OrgId, PeerKey, Timestamp};

use super::*;

/// A machine whose number is the last group of its address; its state, region and network are given.
fn machine(number: u8, app: &str, region: &str, network: u32) -> CatalogEntry {
    CatalogEntry {
        machine_id: MachineId::from_random([number; 14]),
        instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
        app_id: AppId::from_random([0; 16]),
        app_name: app.parse().unwrap(),
        org_id: OrgId::from_random([0; 16]),
        network: NetworkId(network),
        host_id: HostId::from_random([number; 8]),
        region: region.parse().unwrap(),
        private_ip: format!("fdaa:0:{network}::{number}").parse().unwrap(),
        ipv4: Ipv4Addr::LOCALHOST,
        state: MachineState::Started,
        cordoned: false,
        services: Vec::new(),
        statics: Vec::new(),
        metadata: BTreeMap::new(),
        in_dns: true,
        primary_region: None,
        checks: Vec::new(),
    }
}

/// Two apps on network 1, `web` in two regions and with a worker, and a foreign app on network 2.
fn names() -> Names {
    let mut worker = machine(3, "web", "fra", 1);
    worker
        .metadata
        .insert("fly_process_group".into(), "worker".into());
    worker.metadata.insert("Role".into(), "Primary".into());
    let mut asleep = machine(4, "web", "nrt", 1);
    asleep.state = MachineState::Suspended;
    let mut hidden = machine(5, "web", "iad", 1);
    hidden.in_dns = false;
    let entries = [
        machine(1, "web", "iad", 1),
        machine(2, "web", "fra", 1),
        worker,
        asleep,
        hidden,
        machine(6, "db", "iad", 1),
        machine(7, "other", "iad", 2),
    ];
    let catalog: Catalog = Arc::new(entries.into_iter().map(Arc::new).collect());
    let app = |name: &str, addresses| {
        Arc::new(DirectoryApp {
            app_id: AppId::from_random([0; 16]),
            name: name.parse().unwrap(),
            org_id: OrgId::from_random([0; 16]),
            network: NetworkId(1),
            hostnames: Vec::new(),
            addresses,
            replay_sources: Vec::new(),
            egress: Vec::new(),
            policies: Vec::new(),
            autoscaled: false,
        })
    };
    let flycast = AssignedAddress {
        ip: "fdaa:0:1::f".parse().unwrap(),
        reach: Reach::Private(NetworkId(1)),
        region: None,
    };
    let directory = Directory {
        apps: vec![app("web", vec![flycast]), app("empty", Vec::new())],
        peers: vec![peer("My-Laptop", 1, 0xa02), peer("phone", 2, 0xb02)],
        ..Directory::default()
    };
    Names::new(&catalog, &directory)
}

fn peer(name: &str, network: u32, number: u16) -> Arc<DirectoryPeer> {
    Arc::new(DirectoryPeer {
        name: name.to_owned(),
        org_id: OrgId::from_random([0; 16]),
        network: NetworkId(network),
        region: "fra".parse().unwrap(),
        host_id: HostId::from_random([2; 8]),
        public_key: PeerKey::from_bytes([number.to_be_bytes()[0]; 32]),
        ip: Ipv6Addr::new(0xfdaa, 0, network as u16, 0, 0, 0, 0, number),
    })
}

#[test]
fn devices_of_a_network_have_names_and_ask_as_it() {
    let text = |text: &str| Some(Found::Text(text.to_owned()));
    assert_eq!(numbers("my-laptop._peer.internal"), [0xa02]);
    assert_eq!(
        ask("my-laptop._peer.internal", Kind::Txt),
        Some(Found::NoRecord)
    );
    assert_eq!(ask("phone._peer.internal", Kind::Aaaa), Some(Found::NoName));
    assert_eq!(ask("_peer.internal", Kind::Txt), text("my-laptop"));

    let names = names();
    // Clients use the first address of their range.
    let device = names.asker("fdaa:0:1::a00".parse().unwrap()).unwrap();
    assert!(names.asker("fdaa:0:1::c:2".parse().unwrap()).is_none());
    let found = |name: &str| names.find(&device, name, Kind::Aaaa);
    assert!(matches!(found("web.internal"), Some(Found::Addresses(all)) if all.len() == 3));
    assert_eq!(found("other.internal"), Some(Found::NoName));
    let Some(Found::Ordered(nearest)) = found("top1.nearest.of.web.internal") else {
        panic!("an ordered answer");
    };
    assert_eq!(nearest[0].segments()[7], 2, "the gateway's own host first");
}

fn ask(name: &str, kind: Kind) -> Option<Found> {
    let names = names();
    let asker = names.asker("fdaa:0:1::1".parse().unwrap()).unwrap();
    names.find(&asker, name, kind)
}

/// The last groups of the addresses a name has, in order.
fn numbers(name: &str) -> Vec<u16> {
    let (addresses, ordered) = match ask(name, Kind::Aaaa) {
        Some(Found::Addresses(addresses)) => (addresses, false),
        Some(Found::Ordered(addresses)) => (addresses, true),
        other => panic!("{name}: {other:?}"),
    };
    let mut numbers: Vec<u16> = addresses.iter().map(|ip| ip.segments()[7]).collect();
    if !ordered {
        numbers.sort_unstable();
    }
    numbers
}

#[test]
fn each_form_of_a_name_has_its_machines() {
    let id = MachineId::from_random([2; 14]);
    for (name, expected) in [
        ("web.internal", vec![1, 2, 3]),
        ("global.web.internal", vec![1, 2, 3]),
        ("fra.web.internal", vec![2, 3]),
        ("worker.process.web.internal", vec![3]),
        ("primary.role.kv._metadata.web.internal", vec![3]),
        (&format!("{id}.vm.web.internal"), vec![2]),
        ("db.internal", vec![6]),
        ("web.flycast", vec![15]),
        ("_api.internal", vec![3]),
    ] {
        assert_eq!(numbers(name), expected, "{name}");
    }
}

#[test]
fn the_nearest_come_first_and_no_more_than_asked_for() {
    assert_eq!(numbers("top1.nearest.of.web.internal"), [1]);
    assert_eq!(numbers("top9.nearest.of.web.internal").len(), 3);
    assert_eq!(numbers("top9.nearest.of.web.internal")[0], 1);
}

#[test]
fn texts_speak_of_machines_regions_and_apps() {
    let text = |name: &str| match ask(name, Kind::Txt) {
        Some(Found::Text(text)) => text,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("regions.web.internal"), "fra,iad");
    assert_eq!(text("all.regions.web.internal"), "fra,iad,nrt");
    assert_eq!(text("_apps.internal"), "db,empty,web");
    let [one, six] = [1, 6].map(|number| MachineId::from_random([number; 14]));
    assert_eq!(text("vms.db.internal"), format!("{six} iad"));
    assert_eq!(text("all.vms.web.internal").split(',').count(), 4);
    let instances = text("_instances.internal");
    assert!(instances.contains(&format!("instance={one},app=web,ip=fdaa:0:1::1,region=iad")));
    assert_eq!(instances.split(';').count(), 4);
    assert_eq!(text("all._instances.internal").split(';').count(), 5);
}

#[test]
fn a_name_exists_or_not_whatever_type_is_asked_for() {
    let asleep = MachineId::from_random([4; 14]);
    for (name, kind, expected) in [
        ("web.internal", Kind::Txt, Found::NoRecord),
        ("web.internal", Kind::Other, Found::NoRecord),
        ("empty.internal", Kind::Aaaa, Found::NoRecord),
        ("internal", Kind::Aaaa, Found::NoRecord),
        ("vms.web.internal", Kind::Aaaa, Found::NoRecord),
        ("nrt.web.internal", Kind::Aaaa, Found::NoName),
        ("nobody.process.web.internal", Kind::Aaaa, Found::NoName),
        (
            &format!("{asleep}.vm.web.internal"),
            Kind::Aaaa,
            Found::NoName,
        ),
        ("top0.nearest.of.web.internal", Kind::Aaaa, Found::NoName),
        ("topx.nearest.of.web.internal", Kind::Aaaa, Found::NoName),
        ("other.internal", Kind::Aaaa, Found::NoName),
        ("db.flycast", Kind::Aaaa, Found::NoName),
        ("_nothing.internal", Kind::Txt, Found::NoName),
    ] {
        assert_eq!(ask(name, kind), Some(expected), "{name}");
    }
}

#[test]
fn addresses_lead_back_to_names_within_the_network() {
    let reversed = |ip: &str| {
        let bits = ip.parse::<Ipv6Addr>().unwrap().to_bits();
        let nibbles: Vec<String> = (0..32)
            .map(|at| format!("{:x}", bits >> (4 * at) & 15))
            .collect();
        format!("{}.ip6.arpa", nibbles.join("."))
    };
    let id = MachineId::from_random([2; 14]);
    assert_eq!(
        ask(&reversed("fdaa:0:1::2"), Kind::Ptr),
        Some(Found::Pointer(format!("{id}.vm.web.internal")))
    );
    assert_eq!(
        ask(&reversed("fdaa:0:2::7"), Kind::Ptr),
        Some(Found::NoName)
    );
    assert_eq!(ask(&reversed("2001:db8::1"), Kind::Ptr), None);
}

#[test]
fn other_names_are_not_ours() {
    for name in ["example.com", "notinternal", "internal.example", "com", ""] {
        assert_eq!(ask(name, Kind::Aaaa), None, "{name}");
    }
}

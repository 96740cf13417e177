//! What the network of this server enforces for its machines: policies, the addresses they leave by, and the public
//! addresses and other servers they may use, from what hosts and the control plane publish.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_driver::ContainerDriver;
use mayfly_edge_api::{
    Directory, DirectoryApp, IpFamily, NetworkPolicy, PolicyAction, PolicyDirection, PolicyPort,
    PolicyProtocol, Reach,
};
use mayfly_fleet_api::Roster;
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_mesh::{Flow, MachineTraffic, Traffic};
use mayfly_runtime::{Backoff, Stop, report};
use mayfly_types::{AppId, AppName, HostId, IpRange, NetworkId};
use tokio::sync::watch;
use tracing::error;

/// Bits that the addresses of one machine share.
const MACHINE_PREFIX: u8 = 112;

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(50),
    most: Duration::from_secs(5),
};

/// Keeps the firewall in step with what is published.
pub(crate) struct TrafficKeeper {
    pub(crate) driver: ContainerDriver,
    pub(crate) catalog: watch::Receiver<Catalog>,
    /// Those whose machines run here.
    pub(crate) hosts: BTreeSet<HostId>,
    pub(crate) directory: watch::Receiver<Arc<Directory>>,
    /// Where the edges of this server listen for everybody.
    pub(crate) doors: BTreeSet<SocketAddr>,
    /// `None` of a cloud that is one server.
    pub(crate) roster: Option<watch::Receiver<Arc<Roster>>>,
}

impl TrafficKeeper {
    /// Enforces what is known now. What an earlier daemon enforced stays until the first success.
    pub(crate) async fn run(mut self, stop: Stop) {
        let mut enforced = None;
        let mut failures = 0;
        loop {
            let wanted = {
                let catalog = self.catalog.borrow_and_update();
                let directory = self.directory.borrow_and_update();
                let roster = self.roster.as_mut();
                let servers = roster.map(|roster| addresses(&roster.borrow_and_update()));
                Traffic {
                    doors: self.doors.clone(),
                    servers: servers.unwrap_or_default(),
                    ..traffic(&self.hosts, &catalog, &directory)
                }
            };
            if enforced.as_ref() != Some(&wanted) {
                match self.driver.set_traffic(Arc::new(wanted.clone())).await {
                    Ok(()) => {
                        enforced = Some(wanted);
                        failures = 0;
                    }
                    Err(problem) => {
                        failures += 1;
                        error!(
                            error = report(&problem),
                            "policies of machines are not in force"
                        );
                    }
                }
            }
            let again = async {
                match failures {
                    0 => std::future::pending().await,
                    _ => tokio::time::sleep(RETRY.pause(failures)).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.catalog.changed() => if changed.is_err() { return },
                changed = self.directory.changed() => if changed.is_err() { return },
                changed = changed(&mut self.roster) => if changed.is_err() { return },
                () = again => {}
            }
        }
    }
}

/// Waits for news of the fleet, of which a single server never has any.
async fn changed(
    roster: &mut Option<watch::Receiver<Arc<Roster>>>,
) -> Result<(), watch::error::RecvError> {
    match roster {
        Some(roster) => roster.changed().await,
        None => std::future::pending().await,
    }
}

/// Where the servers of a fleet are. One that is known by a name is known by the end of its tunnels too.
fn addresses(roster: &Roster) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for server in &roster.servers {
        let listener: Option<SocketAddr> = server.address.parse().ok();
        let tunnel = server.tunnel.as_ref().map(|tunnel| tunnel.endpoint);
        addresses.extend(listener.into_iter().chain(tunnel).map(|end| end.ip()));
    }
    addresses
}

/// Pure: the same knowledge makes the same wish.
fn traffic(hosts: &BTreeSet<HostId>, catalog: &Catalog, directory: &Directory) -> Traffic {
    let apps: BTreeMap<AppId, &DirectoryApp> = directory
        .apps
        .iter()
        .filter(|app| !app.policies.is_empty() || !app.egress.is_empty())
        .map(|app| (app.app_id, app.as_ref()))
        .collect();
    let mut machines = BTreeMap::new();
    for entry in catalog
        .iter()
        .filter(|entry| hosts.contains(&entry.host_id))
    {
        let Some(app) = apps.get(&entry.app_id) else {
            continue;
        };
        let wanted = machine_traffic(entry, app, catalog);
        if wanted != MachineTraffic::default() {
            machines.insert(entry.machine_id, wanted);
        }
    }
    let addresses = directory.apps.iter().flat_map(|app| &app.addresses);
    Traffic {
        machines,
        public: addresses
            .filter(|address| address.reach == Reach::Dedicated)
            .map(|address| address.ip)
            .filter(|ip| !ip.is_loopback())
            .collect(),
        outward: directory
            .apps
            .iter()
            .flat_map(|app| app.egress.iter().map(|address| address.ip))
            .collect(),
        ..Traffic::default()
    }
}

fn machine_traffic(entry: &CatalogEntry, app: &DirectoryApp, catalog: &Catalog) -> MachineTraffic {
    let mut wanted = MachineTraffic::default();
    let chosen = |family| app.egress_of(entry.machine_id, &entry.region, family);
    if let Some(IpAddr::V4(to)) = chosen(IpFamily::V4) {
        wanted.source4 = Some((entry.ipv4, to));
    }
    if let Some(IpAddr::V6(to)) = chosen(IpFamily::V6) {
        wanted.source6 = Some((entry.private_ip, to));
    }
    for policy in app.policies.iter().filter(|policy| selects(policy, entry)) {
        for rule in &policy.rules {
            let guard = match rule.direction {
                PolicyDirection::Egress => &mut wanted.outbound,
                PolicyDirection::Ingress => &mut wanted.inbound,
            };
            let others = others(&rule.ranges, &rule.apps, entry.network, catalog);
            let flows = flows(&others, &rule.ports);
            match rule.action {
                PolicyAction::Allow => {
                    guard.only_allowed = true;
                    guard.allow.extend(flows);
                }
                PolicyAction::Deny => guard.deny.extend(flows),
            }
        }
    }
    wanted
}

fn selects(policy: &NetworkPolicy, entry: &CatalogEntry) -> bool {
    let named = policy.selector.machines.as_ref();
    named.is_none_or(|machines| machines.contains(&entry.machine_id))
        && policy
            .selector
            .metadata
            .iter()
            .all(|(key, value)| entry.metadata.get(key) == Some(value))
}

/// The other side of a rule as ranges.
fn others(
    ranges: &[IpRange],
    apps: &[AppName],
    network: NetworkId,
    catalog: &Catalog,
) -> Vec<IpRange> {
    if ranges.is_empty() && apps.is_empty() {
        let everybody = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        return everybody
            .into_iter()
            .filter_map(|ip: IpAddr| IpRange::new(ip, 0))
            .collect();
    }
    let machines = catalog
        .iter()
        .filter(|other| other.network == network && apps.contains(&other.app_name));
    let machines =
        machines.filter_map(|other| IpRange::new(other.private_ip.into(), MACHINE_PREFIX));
    ranges.iter().copied().chain(machines).collect()
}

fn flows(others: &[IpRange], ports: &[PolicyPort]) -> Vec<Flow> {
    const ALL: PolicyPort = PolicyPort {
        protocol: PolicyProtocol::Any,
        first: 0,
        last: u16::MAX,
    };
    let ports = if ports.is_empty() { &[ALL][..] } else { ports };
    let mut flows = Vec::with_capacity(others.len() * ports.len());
    for range in others {
        for port in ports {
            let protocols = match (port.protocol, range.first()) {
                (PolicyProtocol::Any, _) => Flow::ALL_PROTOCOLS,
                (PolicyProtocol::Tcp, _) => (6, 6),
                (PolicyProtocol::Udp, _) => (17, 17),
                (PolicyProtocol::Icmp, IpAddr::V4(_)) => (1, 1),
                (PolicyProtocol::Icmp, IpAddr::V6(_)) => (58, 58),
            };
            flows.push(Flow {
                range: *range,
                protocols,
                ports: (port.first, port.last),
            });
        }
    }
    flows
}

/// The listeners of edges that machines may use like the rest of the world: those with an address that others have a
/// way to. An edge that listens everywhere is reached by the addresses the server is known by.
pub(crate) fn doors(
    edges: impl Iterator<Item = SocketAddr>,
    known_by: &[IpAddr],
) -> BTreeSet<SocketAddr> {
    let mut doors = BTreeSet::new();
    for edge in edges {
        if edge.ip().is_unspecified() {
            doors.extend(known_by.iter().map(|ip| SocketAddr::new(*ip, edge.port())));
        } else {
            doors.insert(edge);
        }
    }
    doors.retain(|door| !door.ip().is_loopback());
    doors
}

#[cfg(test)]
mod tests {
    use mayfly_edge_api::{EgressAddress, PolicyRule, PolicySelector};
    use mayfly_fleet_api::{RosterServer, TunnelEnd};
    use mayfly_machine::MachineState;
    use mayfly_types::{InstanceId, MachineId, OrgId, Timestamp};

    use super::*;

    fn entry(number: u8, app: u8, network: u32) -> Arc<CatalogEntry> {
        Arc::new(CatalogEntry {
            machine_id: MachineId::from_random([number; 14]),
            instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
            app_id: AppId::from_random([app; 16]),
            app_name: format!("app{app}").parse().unwrap(),
            org_id: OrgId::from_random([0; 16]),
            network: NetworkId(network),
            host_id: HostId::from_random([0; 8]),
            region: "iad".parse().unwrap(),
            private_ip: format!("fdaa:0:{network}:0:0:0:{number}:2")
                .parse()
                .unwrap(),
            ipv4: Ipv4Addr::new(100, 64, 0, number),
            state: MachineState::Started,
            cordoned: false,
            services: Vec::new(),
            statics: Vec::new(),
            metadata: BTreeMap::from([("role".to_owned(), format!("r{number}"))]),
            in_dns: true,
            primary_region: None,
            checks: Vec::new(),
        })
    }

    fn here() -> BTreeSet<HostId> {
        BTreeSet::from([HostId::from_random([0; 8])])
    }

    fn app(number: u8, egress: &[&str], policies: Vec<NetworkPolicy>) -> Arc<DirectoryApp> {
        Arc::new(DirectoryApp {
            app_id: AppId::from_random([number; 16]),
            name: format!("app{number}").parse().unwrap(),
            org_id: OrgId::from_random([0; 16]),
            network: NetworkId(1),
            hostnames: Vec::new(),
            addresses: Vec::new(),
            replay_sources: Vec::new(),
            egress: egress
                .iter()
                .map(|ip| EgressAddress {
                    ip: ip.parse().unwrap(),
                    region: "iad".parse().unwrap(),
                })
                .collect(),
            autoscaled: false,
            policies,
        })
    }

    fn rule(action: PolicyAction, direction: PolicyDirection) -> PolicyRule {
        PolicyRule {
            action,
            direction,
            ports: Vec::new(),
            ranges: Vec::new(),
            apps: Vec::new(),
        }
    }

    #[test]
    fn policies_reach_the_machines_they_select() {
        let mut allow = rule(PolicyAction::Allow, PolicyDirection::Egress);
        allow.apps = vec!["app2".parse().unwrap()];
        allow.ports = vec![PolicyPort {
            protocol: PolicyProtocol::Tcp,
            first: 80,
            last: 81,
        }];
        let deny = rule(PolicyAction::Deny, PolicyDirection::Ingress);
        let policy = NetworkPolicy {
            id: "1".into(),
            name: "p".into(),
            selector: PolicySelector {
                machines: None,
                metadata: BTreeMap::from([("role".to_owned(), "r1".to_owned())]),
            },
            rules: vec![allow, deny],
        };
        let directory = Directory {
            apps: vec![app(1, &[], vec![policy])],
            ..Directory::default()
        };
        // The last is of app 2 too, in another network.
        let catalog: Catalog = Arc::new(vec![
            entry(1, 1, 1),
            entry(2, 1, 1),
            entry(3, 2, 1),
            entry(4, 2, 9),
        ]);
        let traffic = traffic(&here(), &catalog, &directory);
        assert_eq!(traffic.machines.len(), 1);
        let one = &traffic.machines[&MachineId::from_random([1; 14])];
        assert!(one.outbound.only_allowed && !one.inbound.only_allowed);
        assert_eq!(
            one.outbound.allow,
            [Flow {
                range: "fdaa:0:1:0:0:0:3:0/112".parse().unwrap(),
                protocols: (6, 6),
                ports: (80, 81),
            }]
        );
        let denied: Vec<String> = one
            .inbound
            .deny
            .iter()
            .map(|flow| flow.range.to_string())
            .collect();
        assert_eq!(denied, ["0.0.0.0/0", "::/0"]);
        let elsewhere = super::traffic(&BTreeSet::new(), &catalog, &directory);
        assert!(elsewhere.machines.is_empty(), "of another server");
    }

    #[test]
    fn a_machine_keeps_its_way_out_when_others_come() {
        let catalog: Catalog = Arc::new((1..=40).map(|number| entry(number, 1, 1)).collect());
        let chosen = |egress: &[&str]| -> Vec<Ipv4Addr> {
            let directory = Directory {
                apps: vec![app(1, egress, Vec::new())],
                ..Directory::default()
            };
            let traffic = traffic(&here(), &catalog, &directory);
            traffic
                .machines
                .values()
                .map(|one| one.source4.unwrap().1)
                .collect()
        };
        let two = chosen(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let three = chosen(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        let third: Ipv4Addr = "192.0.2.3".parse().unwrap();
        assert!(
            two.iter()
                .zip(&three)
                .all(|(before, now)| before == now || *now == third)
        );
        for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            let share = three
                .iter()
                .filter(|chosen| chosen.to_string() == ip)
                .count();
            assert!(share > 0, "{ip} is never chosen");
        }
    }

    #[test]
    fn servers_of_the_fleet_are_known_by_their_ends() {
        let server = |address: &str, endpoint: Option<&str>| RosterServer {
            id: HostId::from_random([0; 8]),
            address: address.to_owned(),
            tunnel: endpoint.map(|endpoint| TunnelEnd {
                public_key: String::new(),
                endpoint: endpoint.parse().unwrap(),
            }),
            hosts: Vec::new(),
        };
        let roster = Roster {
            servers: vec![
                server("192.0.2.1:4290", None),
                server("[2001:db8::2]:4290", Some("192.0.2.2:4290")),
                server("ams.example.com:4290", Some("192.0.2.3:4290")),
            ],
        };
        let found = addresses(&roster);
        let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
        assert_eq!(
            found,
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::2"]
        );
    }

    #[test]
    fn doors_are_where_the_world_comes_in() {
        let edges = ["127.0.0.1:80", "0.0.0.0:81", "198.51.100.7:82"];
        let edges = edges.iter().map(|text| text.parse().unwrap());
        let found = doors(edges, &["203.0.113.9".parse().unwrap()]);
        let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["198.51.100.7:82", "203.0.113.9:81"]);
    }
}

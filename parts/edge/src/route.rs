use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mayfly_host_api::CatalogEntry;
use mayfly_machine::{MachineState, PortSpec, Protocol};
use mayfly_types::MachineId;

/// Where apps listen when no service says otherwise.
const DEFAULT_INTERNAL_PORT: u16 = 8080;

/// An immutable answer to "who serves this host name now", made anew at every change of the catalog.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    apps: HashMap<String, Route>,
}

/// The machines of one app.
#[derive(Debug, Default)]
pub(crate) struct Route {
    targets: Vec<Target>,
    turn: AtomicUsize,
}

/// A machine that may be given requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) machine: MachineId,
    /// Most apps listen on `0.0.0.0`, some on `[::]` only: IPv4 is tried first.
    pub(crate) addresses: [SocketAddr; 2],
    /// It speaks HTTP/2 without TLS and nothing else (`h2_backend`).
    pub(crate) h2: bool,
}

impl RouteTable {
    pub(crate) fn from_catalog(entries: &[Arc<CatalogEntry>]) -> RouteTable {
        let mut apps: HashMap<String, Route> = HashMap::new();
        for entry in entries {
            let route = apps.entry(entry.app_name.as_str().to_owned()).or_default();
            if entry.state == MachineState::Started && !entry.cordoned {
                let service = entry
                    .services
                    .iter()
                    .find(|service| service.protocol == Protocol::Tcp);
                let h2 = service.is_some_and(|service| service.ports.iter().any(speaks_h2));
                let port = service.map_or(DEFAULT_INTERNAL_PORT, |service| service.internal_port);
                let addresses = [
                    SocketAddr::from((entry.ipv4, port)),
                    SocketAddr::from((entry.private_ip, port)),
                ];
                route.targets.push(Target {
                    machine: entry.machine_id,
                    addresses,
                    h2,
                });
            }
        }
        RouteTable { apps }
    }

    /// The route of the app that `host` names under `domain`.
    pub(crate) fn by_host(&self, host: &str, domain: &str) -> Option<&Route> {
        let app = host.strip_suffix(domain)?.strip_suffix('.')?;
        self.apps.get(app)
    }
}

fn speaks_h2(port: &PortSpec) -> bool {
    port.http.h2_backend
}

impl Route {
    /// All targets, beginning with the one whose turn it is.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = Target> + '_ {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.targets.len();
        (0..count).map(move |offset| self.targets[(first % count + offset) % count])
    }
}

#[cfg(test)]
mod tests {
    use mayfly_machine::ServiceSpec;
    use mayfly_types::{AppId, HostId, InstanceId, NetworkId, OrgId, Timestamp};

    use super::*;

    fn entry(app: &str, last: u8, state: MachineState) -> Arc<CatalogEntry> {
        Arc::new(CatalogEntry {
            machine_id: MachineId::from_random([last; 14]),
            instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
            app_name: app.parse().unwrap(),
            region: "iad".parse().unwrap(),
            ipv4: std::net::Ipv4Addr::new(10, 0, 0, last),
            private_ip: format!("fdaa::{last}").parse().unwrap(),
            state,
            cordoned: false,
            services: vec![ServiceSpec::new(Protocol::Tcp, 80)],
            app_id: AppId::from_random([1; 16]),
            org_id: OrgId::from_random([1; 16]),
            network: NetworkId(1),
            host_id: HostId::from_random([1; 8]),
            statics: Vec::new(),
            metadata: Default::default(),
            in_dns: true,
            primary_region: None,
            checks: Vec::new(),
        })
    }

    #[test]
    fn started_machines_take_turns_and_others_get_nothing() {
        let mut cordoned = entry("web", 3, MachineState::Started);
        Arc::make_mut(&mut cordoned).cordoned = true;
        let table = RouteTable::from_catalog(&[
            entry("web", 1, MachineState::Started),
            entry("web", 2, MachineState::Started),
            cordoned,
            entry("web", 4, MachineState::Stopped),
        ]);
        let route = table
            .by_host("web.mayfly.localhost", "mayfly.localhost")
            .unwrap();
        let firsts: Vec<String> = (0..4)
            .map(|_| route.in_turn().next().unwrap().addresses[1].to_string())
            .collect();
        assert_eq!(
            firsts,
            [
                "[fdaa::1]:80",
                "[fdaa::2]:80",
                "[fdaa::1]:80",
                "[fdaa::2]:80"
            ]
        );
        assert_eq!(route.in_turn().count(), 2);
        for host in [
            "web.other",
            "mayfly.localhost",
            "x.web.mayfly.localhost",
            "webmayfly.localhost",
            "",
        ] {
            assert!(table.by_host(host, "mayfly.localhost").is_none(), "{host}");
        }
    }
}

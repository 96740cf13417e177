//! The servers of the fleet: joining, leaving, who is told of whom, and what operators see of them.

mod door;
mod drain;
mod leaving;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use mayfly_certs::RoleAuthority;
use mayfly_control_store::StoreError;
use mayfly_fleet_api::{Roster, RosterHost, RosterServer, TunnelEnd};
use mayfly_host_api::HostApi;
use tokio::sync::watch;

use crate::cloud::Cloud;
use crate::hosts::Member;

pub(crate) use door::Door;
pub(crate) use drain::Drains;
pub(crate) use drain::rest::{begin as begin_drain, end as end_drain, show as show_drain};
pub(crate) use rest::{cordon, list, remove, show, token};

/// What other servers join by.
#[derive(Clone)]
pub struct FleetDeps {
    /// Gives them their identities.
    pub authority: Arc<RoleAuthority>,
    /// How long an identity is good.
    pub identity_lifetime: Duration,
    /// Where they reach this server.
    pub address: String,
    pub tunnel: Option<TunnelEnd>,
    pub dialer: Arc<dyn HostDialer>,
    /// Where the control plane says who is in the fleet.
    pub roster: watch::Sender<Arc<Roster>>,
}

/// Makes hosts of other servers callable; the same host is the same each time.
pub trait HostDialer: Send + Sync + 'static {
    fn dial(&self, server: &RosterServer, host: &RosterHost) -> Arc<dyn HostApi>;
}

/// The fleet as the control plane leads it; a cloud of one server has none.
pub(crate) struct Fleet {
    deps: Option<FleetDeps>,
    /// Rosters are made one after the other.
    turn: tokio::sync::Mutex<()>,
}

impl Fleet {
    pub(crate) fn new(deps: Option<FleetDeps>) -> Self {
        Self {
            deps,
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl Cloud {
    /// Publishes who is in the fleet as the store says it, and makes those hosts the ones that are asked.
    pub(crate) async fn refresh_fleet(&self) -> Result<(), StoreError> {
        let Some(deps) = &self.fleet.deps else {
            return Ok(());
        };
        let _turn = self.fleet.turn.lock().await;
        let hosts = self.store.hosts().await?;
        let of_server = |server| {
            let own = hosts.iter().filter(move |host| host.server_id == server);
            own.map(|host| RosterHost {
                id: host.id,
                region: host.region.clone(),
                memory_mib: host.size.memory_mib,
                cpus: host.size.cpus,
            })
        };
        let local: Vec<Member> = self.hosts.all();
        let own: Vec<RosterHost> = local
            .iter()
            .filter(|member| member.is_local)
            .filter_map(|member| of_server(None).find(|host| host.id == member.id))
            .collect();
        let mut roster = Roster::default();
        if let Some(first) = own.first() {
            roster.servers.push(RosterServer {
                id: first.id,
                address: deps.address.clone(),
                tunnel: deps.tunnel.clone(),
                hosts: own,
            });
        }
        let mut joined = Vec::new();
        for server in self.store.servers().await? {
            let place = server.place;
            let tunnel = place.tunnel_key.zip(place.tunnel_endpoint);
            let server = RosterServer {
                id: server.id,
                address: place.address,
                tunnel: tunnel.map(|(public_key, endpoint)| TunnelEnd {
                    public_key,
                    endpoint,
                }),
                hosts: of_server(Some(server.id)).collect(),
            };
            joined.push(server.clone());
            roster.servers.push(server);
        }
        let roster = Arc::new(roster);
        deps.roster.send_if_modified(|current| {
            let changed = *current != roster;
            *current = roster.clone();
            changed
        });
        let members = joined.iter().flat_map(|server| {
            server.hosts.iter().map(|host| Member {
                id: host.id,
                region: host.region.clone(),
                image_store: format!("server {}", server.id),
                is_local: false,
                api: deps.dialer.dial(server, host),
            })
        });
        self.hosts.set_joined(members.collect());
        Ok(())
    }
}

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use mayfly_certs::request_key_fingerprint;
use mayfly_control_store::{HostSize, NewServer, ServerPlace, StoreError};
use mayfly_edge_api::{Directory, EdgeLoad};
use mayfly_fleet_api::{
    CallError, ControlDoor, Hello, JoinAnswer, JoinRequest, RenewAnswer, Roster, server_name,
};
use mayfly_runtime::report;
use mayfly_types::{Digest, ErrorKind, HostId};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::FleetDeps;
use crate::cloud::Cloud;
use crate::token_hash::token_hash;

/// More regions on one server than anybody emulates.
const HOSTS_MAX: usize = 64;

/// The control plane as servers of the fleet meet it.
pub(crate) struct Door(pub(crate) Arc<Cloud>);

impl Door {
    fn deps(&self) -> Result<&FleetDeps, CallError> {
        let deps = self.0.fleet.deps.as_ref();
        deps.ok_or_else(|| CallError::new(ErrorKind::NotFound, "this cloud is of one server"))
    }

    fn sign(&self, server: HostId, request: &str) -> Result<String, CallError> {
        let deps = self.deps()?;
        let entropy = self.0.entropy.as_ref();
        let names = [server_name(server)];
        let lifetime = deps.identity_lifetime;
        let signed = deps
            .authority
            .sign(request, &names, lifetime, self.0.now(), entropy);
        signed.map_err(|error| CallError::new(ErrorKind::Invalid, report(&error)))
    }

    async fn refresh(&self) -> Result<(), CallError> {
        self.0.refresh_fleet().await.map_err(store_error)
    }
}

#[async_trait]
impl ControlDoor for Door {
    async fn join(&self, request: JoinRequest, seen_at: IpAddr) -> Result<JoinAnswer, CallError> {
        self.deps()?;
        let denied = |text: String| CallError::new(ErrorKind::Denied, text);
        let key: Option<Digest> = request_key_fingerprint(&request.request)
            .and_then(|digits| format!("sha256:{digits}").parse().ok());
        let key = key.ok_or_else(|| {
            CallError::new(ErrorKind::Invalid, "request is no certificate request")
        })?;
        let first = request.hello.hosts.first();
        let server = first.ok_or_else(no_hosts)?.id;
        if self
            .0
            .hosts
            .all()
            .iter()
            .any(|host| host.is_local && host.id == server)
        {
            return Err(denied(format!(
                "host id {server} is taken by another server"
            )));
        }
        let new = new_server(server, &request.hello, seen_at)?;
        let token = token_hash(request.secret.reveal());
        let address = new.place.address.clone();
        let taken = self
            .0
            .store
            .join_server(token, key, new, self.0.by_platform())
            .await;
        if let Err(error) = taken {
            warn!(%seen_at, host_id = %server, error = report(&error), "a server may not join");
            return Err(match error {
                StoreError::NotFound { .. } => denied(
                    "the join token is not known, was used by another server, or has expired; \
                     `mayfly hosts token` makes a new one"
                        .to_owned(),
                ),
                StoreError::Taken { name, .. } => denied(format!(
                    "host id {name} is taken by another server, or by an earlier key of this one"
                )),
                StoreError::HostRemoved(host) => denied(format!(
                    "host {host} was removed from this fleet; join with an empty data directory"
                )),
                other => store_error(other),
            });
        }
        let chain = self.sign(server, &request.request)?;
        self.refresh().await?;
        info!(host_id = %server, address, "a server joined the fleet");
        Ok(JoinAnswer {
            server,
            chain,
            domain: self.0.settings.domain.clone(),
        })
    }

    async fn renew(&self, server: HostId, request: String) -> Result<RenewAnswer, CallError> {
        if self.roster().borrow().server(server).is_none() {
            return Err(CallError::Removed);
        }
        let chain = self.sign(server, &request)?;
        Ok(RenewAnswer { chain })
    }

    async fn hello(&self, server: HostId, hello: Hello, seen_at: IpAddr) -> Result<(), CallError> {
        let new = new_server(server, &hello, seen_at)?;
        let said = self.0.store.server_said(new, self.0.by_platform()).await;
        if said.map_err(store_error)? {
            self.refresh().await?;
        }
        Ok(())
    }

    async fn load(&self, server: HostId, load: EdgeLoad) -> Result<(), CallError> {
        self.0.autoscale.loads.hear(server, load, self.0.now());
        Ok(())
    }

    fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.0.directory.subscribe()
    }

    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        match &self.0.fleet.deps {
            Some(deps) => deps.roster.subscribe(),
            None => watch::Sender::new(Arc::default()).subscribe(),
        }
    }
}

/// What a server says of itself, with what it leaves open taken from where it is seen.
fn new_server(id: HostId, hello: &Hello, seen_at: IpAddr) -> Result<NewServer, CallError> {
    if hello.hosts.is_empty() || hello.hosts.len() > HOSTS_MAX {
        return Err(no_hosts());
    }
    let seen = SocketAddr::new(seen_at.to_canonical(), hello.port);
    let address = match &hello.address {
        None => seen.to_string(),
        Some(address) => checked_address(address)?,
    };
    let hosts = hello.hosts.iter().map(|host| {
        let size = HostSize {
            memory_mib: host.memory_mib,
            cpus: host.cpus,
        };
        (host.id, host.region.clone(), size)
    });
    Ok(NewServer {
        id,
        hosts: hosts.collect(),
        place: ServerPlace {
            address,
            tunnel_key: hello.tunnel_key.clone(),
            tunnel_endpoint: Some(hello.tunnel_endpoint.unwrap_or(seen)),
        },
    })
}

fn checked_address(address: &str) -> Result<String, CallError> {
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(port)) if port > 0 && address.len() < 300 => Ok(address.to_owned()),
        _ => Err(CallError::new(
            ErrorKind::Invalid,
            "address must be a name or an address and a port, such as 192.0.2.7:4290",
        )),
    }
}

fn no_hosts() -> CallError {
    CallError::new(ErrorKind::Invalid, "hosts must name the server's hosts")
}

fn store_error(source: StoreError) -> CallError {
    match source {
        StoreError::HostRemoved(_) => CallError::Removed,
        other => {
            let text = report(&other);
            if other.kind() == ErrorKind::Internal {
                error!(error = text, "a server's call failed");
            }
            CallError::new(other.kind(), text)
        }
    }
}

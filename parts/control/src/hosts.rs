//! The hosts of this fleet, as far as they can be asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use mayfly_control_store::Machine;
use mayfly_host_api::{HostApi, HostError, HostStatus};
use mayfly_types::{ErrorKind, HostId, Region};
use tokio::sync::watch;

/// One host that can be asked.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: HostId,
    pub(crate) region: Region,
    /// Hosts with the same text share one store of images.
    pub(crate) image_store: String,
    /// Whether it is on the server of the control plane.
    pub(crate) is_local: bool,
    pub(crate) api: Arc<dyn HostApi>,
}

/// The hosts of this fleet: those of this server first, in the order they were named, then those that joined. Clones
/// see the same.
#[derive(Clone)]
pub(crate) struct Hosts(Arc<watch::Sender<Vec<Member>>>);

impl Hosts {
    /// Asks each host of this server who it is. Two of the same identity are one.
    pub(crate) async fn meet(apis: Vec<Arc<dyn HostApi>>) -> Self {
        let mut members: Vec<Member> = Vec::with_capacity(apis.len());
        for api in apis {
            let status = api.status().await;
            if members.iter().all(|known| known.id != status.host_id) {
                members.push(Member {
                    id: status.host_id,
                    region: status.region,
                    image_store: status.image_store,
                    is_local: true,
                    api,
                });
            }
        }
        Self(Arc::new(watch::Sender::new(members)))
    }

    /// Takes over which hosts joined; those of this server stay.
    pub(crate) fn set_joined(&self, joined: Vec<Member>) {
        self.0.send_modify(|members| {
            members.retain(|member| member.is_local);
            members.extend(joined);
        });
    }

    /// Changes whenever there are others.
    pub(crate) fn watch(&self) -> watch::Receiver<Vec<Member>> {
        self.0.subscribe()
    }

    pub(crate) fn all(&self) -> Vec<Member> {
        self.0.borrow().clone()
    }

    pub(crate) fn find(&self, id: HostId) -> Option<Member> {
        let members = self.0.borrow();
        members.iter().find(|member| member.id == id).cloned()
    }

    pub(crate) fn in_region(&self, region: &Region) -> Vec<Member> {
        let mut members = self.all();
        members.retain(|member| member.region == *region);
        members
    }

    /// Every region with a host, each once, in the order of the hosts.
    pub(crate) fn regions(&self) -> Vec<Region> {
        let mut seen = BTreeSet::new();
        let members = self.0.borrow();
        let regions = members.iter().map(|member| member.region.clone());
        regions
            .filter(|region| seen.insert(region.clone()))
            .collect()
    }

    /// The host a machine lives on.
    ///
    /// # Errors
    /// `Unavailable` for a host that was enrolled once and is not among those that can be asked now.
    pub(crate) fn of(&self, machine: &Machine) -> Result<Arc<dyn HostApi>, HostError> {
        let member = self
            .find(machine.host_id)
            .ok_or_else(|| HostError::Failed {
                action: format!("ask the host of machine {}", machine.id),
                kind: ErrorKind::Unavailable,
                source: format!(
                    "host {} (region {}) is not part of this cloud now",
                    machine.host_id, machine.region
                )
                .into(),
            })?;
        Ok(member.api)
    }

    /// One host of each store of images, those of this server first.
    pub(crate) fn image_stores(&self) -> Vec<Member> {
        let mut seen = BTreeSet::new();
        let mut members = self.all();
        members.retain(|member| seen.insert(member.image_store.clone()));
        members
    }

    pub(crate) async fn status(&self) -> Vec<HostStatus> {
        let mut all = Vec::new();
        for member in self.all() {
            all.push(member.api.status().await);
        }
        all
    }
}

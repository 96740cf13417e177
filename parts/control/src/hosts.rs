//! The servers of this fleet, as far as they can be asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use mayfly_control_store::Machine;
use mayfly_host_api::{HostApi, HostError, HostStatus};
use mayfly_types::{ErrorKind, HostId, Region};

/// One host that can be asked.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: HostId,
    pub(crate) region: Region,
    /// Hosts with the same text share one store of images.
    pub(crate) image_store: String,
    pub(crate) api: Arc<dyn HostApi>,
}

/// The hosts of this fleet, in the order they were named; never empty.
#[derive(Clone)]
pub(crate) struct Hosts(Arc<Vec<Member>>);

impl Hosts {
    /// Asks each host who it is. Two of the same identity are one.
    pub(crate) async fn meet(apis: Vec<Arc<dyn HostApi>>) -> Self {
        let mut members: Vec<Member> = Vec::with_capacity(apis.len());
        for api in apis {
            let status = api.status().await;
            if members.iter().all(|known| known.id != status.host_id) {
                members.push(Member {
                    id: status.host_id,
                    region: status.region,
                    image_store: status.image_store,
                    api,
                });
            }
        }
        Self(Arc::new(members))
    }

    pub(crate) fn all(&self) -> &[Member] {
        &self.0
    }

    pub(crate) fn find(&self, id: HostId) -> Option<&Member> {
        self.0.iter().find(|member| member.id == id)
    }

    pub(crate) fn in_region(&self, region: &Region) -> Vec<&Member> {
        let members = self.0.iter();
        members.filter(|member| member.region == *region).collect()
    }

    /// Every region with a host, each once, in the order of the hosts.
    pub(crate) fn regions(&self) -> Vec<Region> {
        let mut seen = BTreeSet::new();
        let regions = self.0.iter().map(|member| member.region.clone());
        regions
            .filter(|region| seen.insert(region.clone()))
            .collect()
    }

    /// The host a machine lives on.
    ///
    /// # Errors
    /// `Unavailable` for a host that was enrolled once and is not among those that can be asked now.
    pub(crate) fn of(&self, machine: &Machine) -> Result<&Arc<dyn HostApi>, HostError> {
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
        Ok(&member.api)
    }

    /// One host of each store of images.
    pub(crate) fn image_stores(&self) -> Vec<&Member> {
        let mut seen = BTreeSet::new();
        let members = self.0.iter();
        members
            .filter(|member| seen.insert(member.image_store.as_str()))
            .collect()
    }

    pub(crate) async fn status(&self) -> Vec<HostStatus> {
        let mut all = Vec::with_capacity(self.0.len());
        for member in self.0.iter() {
            all.push(member.api.status().await);
        }
        all
    }
}

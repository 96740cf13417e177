use mayfly_control_store::{App, Machine, MachineFilter};
use mayfly_types::{Region, Timestamp};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::hosts::Member;
use crate::placement::{Candidate, Placed, place};
use crate::standby::HOST_SILENCE;

impl Cloud {
    /// The host of a region on which a new machine of an app goes.
    pub(super) async fn place(&self, app: &App, region: &Region) -> Result<Placed, ApiError> {
        let members = self.hosts.in_region(region);
        if let [only] = members.as_slice() {
            return Ok(Placed::only(only.id));
        }
        let mut candidates = Vec::with_capacity(members.len());
        for member in members {
            candidates.push(self.candidate(app, member).await?);
        }
        place(&candidates).ok_or_else(|| {
            ApiError::invalid(format!("region: there is no host in region {region}"))
        })
    }

    async fn candidate(&self, app: &App, member: &Member) -> Result<Candidate, ApiError> {
        let filter = MachineFilter {
            host: Some(member.id),
            ..MachineFilter::default()
        };
        let machines = self.store.machines(filter).await?;
        let memory_mib = member.api.status().await.memory_mib;
        let promised: i64 = machines.iter().map(memory_of).sum();
        Ok(Candidate {
            host: member.id,
            answers: self.answers(self.store.host(member.id).await?.seen_at),
            of_app: machines
                .iter()
                .filter(|machine| machine.app_id == app.id)
                .count(),
            machines: machines.len(),
            free_mib: i64::try_from(memory_mib).unwrap_or(i64::MAX) - promised,
        })
    }

    fn answers(&self, seen_at: Timestamp) -> bool {
        self.now().since(seen_at) < HOST_SILENCE
    }
}

fn memory_of(machine: &Machine) -> i64 {
    i64::from(machine.spec.size.memory_mib)
}

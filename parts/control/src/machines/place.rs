use http::StatusCode;
use mayfly_control_store::{App, Machine, MachineFilter};
use mayfly_types::{Region, Timestamp};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::hosts::Member;
use crate::placement::{Candidate, Placed, Reservation, Room, place};

impl Cloud {
    /// The host of a region on which a new machine of an app goes. The reservation stands for the machine until it is
    /// recorded, so that machines asked for at the same time spread too.
    pub(super) async fn place(
        &self,
        app: &App,
        region: &Region,
    ) -> Result<(Placed, Option<Reservation>), ApiError> {
        let (members, cordoned) = self.open_in(region).await?;
        if let [only] = members.as_slice() {
            return Ok((Placed::only(only.id), None));
        }
        let _one_at_a_time = self.reservations.turn().await;
        // Those before the records: a machine is in one of them at least.
        let reserved = self.reservations.now();
        let mut candidates = Vec::with_capacity(members.len());
        for member in &members {
            let mut candidate = self.candidate(app, member).await?;
            for (host, app_id) in &reserved {
                candidate.machines += usize::from(*host == member.id);
                candidate.of_app += usize::from(*host == member.id && *app_id == app.id);
            }
            candidates.push(candidate);
        }
        let placed = place(&candidates).ok_or_else(|| match cordoned {
            0 => ApiError::invalid(format!("region: there is no host in region {region}")),
            _ => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("could not reserve resource for machine: every host of region {region} is cordoned"),
            )
            .coded("insufficient_capacity"),
        })?;
        let reservation = self.reservations.reserve(placed.host, app.id);
        Ok((placed, Some(reservation)))
    }

    /// The hosts of a region that take new machines, and how many there are that do not.
    pub(crate) async fn open_in(&self, region: &Region) -> Result<(Vec<Member>, usize), ApiError> {
        let mut members = self.hosts.in_region(region);
        let all = members.len();
        let hosts = self.store.hosts().await?;
        members.retain(|member| {
            let known = hosts.iter().find(|host| host.id == member.id);
            known.is_none_or(|host| host.cordoned_at.is_none())
        });
        let cordoned = all - members.len();
        Ok((members, cordoned))
    }

    /// How many machines with so much memory a region has room for.
    pub(crate) async fn room(&self, region: Region, memory_mib: u64) -> Result<Room, ApiError> {
        let mut room = Room {
            region,
            fits: 0,
            possible: false,
        };
        for member in self.open_in(&room.region).await?.0 {
            let status = member.api.status().await;
            let promised: i64 = self.machines_on(&member).await?.iter().map(memory_of).sum();
            let promised = u64::try_from(promised).unwrap_or(0);
            let free_mib = status.memory_mib.saturating_sub(promised);
            room.fits += usize::try_from(free_mib / memory_mib).unwrap_or(usize::MAX);
            room.possible |= memory_mib <= status.memory_mib;
        }
        Ok(room)
    }

    async fn machines_on(&self, member: &Member) -> Result<Vec<Machine>, ApiError> {
        let filter = MachineFilter {
            host: Some(member.id),
            ..MachineFilter::default()
        };
        Ok(self.store.machines(filter).await?)
    }

    async fn candidate(&self, app: &App, member: &Member) -> Result<Candidate, ApiError> {
        let machines = self.machines_on(member).await?;
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

    pub(crate) fn answers(&self, seen_at: Timestamp) -> bool {
        self.now().since(seen_at) < self.settings.host_patience
    }
}

fn memory_of(machine: &Machine) -> i64 {
    i64::from(machine.spec.size.memory_mib)
}

use mayfly_routing::round_trip;
use mayfly_types::{MachineId, Region};

use super::seat::Member;

/// What a request wants of the machine it gets, beyond the service's own rules. The default is: nothing.
///
/// <https://fly.io/docs/networking/dynamic-request-routing/#alternative-routing-headers>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where the request came in, if not in this edge's own region.
    pub(crate) near: Option<Region>,
    /// Tried in this order before all others.
    pub(crate) prefer_regions: Vec<Region>,
    /// Tried in this order, and no others; empty means all.
    pub(crate) force_regions: Vec<Region>,
    /// Taken if it can take the request, be it after waking it.
    pub(crate) prefer_instance: Option<MachineId>,
    /// This one or none.
    pub(crate) force_instance: Option<MachineId>,
    /// Those that failed already.
    pub(crate) exclude: Vec<MachineId>,
}

impl Wish {
    /// Whether every machine of the service will do.
    pub(super) fn is_plain(&self) -> bool {
        self.prefer_instance.is_none()
            && self.force_instance.is_none()
            && self.force_regions.is_empty()
            && self.exclude.is_empty()
    }

    /// Whether it asks for no region and no machine.
    pub(super) fn goes_anywhere(&self) -> bool {
        self.is_plain() && self.prefer_regions.is_empty()
    }

    /// How far a machine is for this request; `None` if it must not go there.
    pub(super) fn distance(&self, member: &Member) -> Option<u16> {
        let backend = &member.seat.backend;
        if self.exclude.contains(&backend.machine)
            || self.force_instance.is_some_and(|id| id != backend.machine)
        {
            return None;
        }
        if !self.force_regions.is_empty() {
            return place_in(&self.force_regions, &backend.region);
        }
        if let Some(place) = place_in(&self.prefer_regions, &backend.region) {
            return Some(place);
        }
        let distance = match &self.near {
            Some(near) => round_trip(near, &backend.region),
            None => member.distance,
        };
        let listed = u16::try_from(self.prefer_regions.len()).unwrap_or(u16::MAX);
        Some(distance.saturating_add(listed))
    }
}

fn place_in(regions: &[Region], region: &Region) -> Option<u16> {
    let place = regions.iter().position(|other| other == region)?;
    u16::try_from(place).ok()
}

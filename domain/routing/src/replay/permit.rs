//! Which apps may hand their requests to which.

use mayfly_types::{AppId, NetworkId, OrgId};

/// An app as far as permission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    pub app: AppId,
    pub org: OrgId,
    pub network: NetworkId,
}

/// Who beside its own organization and network may replay to an app. Its own organization in the list means that the
/// organization's other networks may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySources {
    pub organizations: Vec<OrgId>,
    pub apps: Vec<AppId>,
}

impl Party {
    /// Whether requests given to `self` may be replayed to `target`, which granted `sources`.
    pub fn may_replay_to(&self, target: &Party, sources: &ReplaySources) -> bool {
        self.app == target.app
            || (self.org == target.org && self.network == target.network)
            || sources.organizations.contains(&self.org)
            || sources.apps.contains(&self.app)
    }
}

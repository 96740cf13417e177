use std::net::IpAddr;

use crate::action::Action;
use crate::image_pattern::NamedImage;
use crate::role::Roles;

/// A part of an organization that is opened as a whole. The names are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    WireGuard,
    Builder,
    /// Members, roles and invitations.
    Membership,
    /// Tokens and other ways in.
    Authentication,
    /// The end of the organization itself.
    Deletion,
    /// Which organizations may replay requests to this one's apps.
    Replay,
}

impl Feature {
    pub fn as_str(self) -> &'static str {
        match self {
            Feature::WireGuard => "wg",
            Feature::Builder => "builder",
            Feature::Membership => "membership",
            Feature::Authentication => "authentication",
            Feature::Deletion => "deletion",
            Feature::Replay => "replay",
        }
    }

    /// What members who are no admins may do with it.
    fn open_to_members(self) -> Action {
        match self {
            Feature::WireGuard | Feature::Builder => Action::ALL,
            // Everybody may make a token that can do no more than they can.
            Feature::Authentication => Action::ALL,
            Feature::Membership | Feature::Replay => Action::READ,
            Feature::Deletion => Action::NONE,
        }
    }
}

/// What somebody wants to do, and to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Seconds since 1970 UTC.
    pub now: i64,
    pub action: Action,
    pub org: Option<u64>,
    pub app: Option<u64>,
    pub machine: Option<String>,
    pub volume: Option<String>,
    /// The words of a command to be run in `machine`.
    pub command: Option<Vec<String>>,
    pub feature: Option<Feature>,
    /// The name upstream's GraphQL interface has for this change, if it has one.
    pub mutation: Option<&'static str>,
    /// The machine at whose door the request came in.
    pub from_machine: Option<String>,
    /// Where the request comes from, if that is known.
    pub source: Option<IpAddr>,
    /// What it puts into the registry or has machines run.
    pub images: Vec<NamedImage>,
    /// Where it has machines made or changed.
    pub regions: Vec<String>,
}

impl Request {
    /// The least role that may do this.
    pub fn role(&self) -> Roles {
        match self.feature {
            Some(feature) if !self.action.is_subset_of(feature.open_to_members()) => Roles::ADMIN,
            _ => Roles::MEMBER,
        }
    }
}

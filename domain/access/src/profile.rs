//! The caveats that tokens are made with.

use crate::action::Action;
use crate::caveat::{Caveat, IfPresent};
use crate::request::Feature;

/// The number tokens know an organization by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrgNumber(pub u64);

/// The number tokens know an app by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppNumber(pub u64);

/// Everything about one app, what a deployment needs of its organization, and to read the rest of that.
pub fn deploy(org: OrgNumber, app: AppNumber) -> Vec<Caveat> {
    let features = [Feature::Builder, Feature::WireGuard];
    vec![
        all_of(org),
        Caveat::IsMember,
        Caveat::IfPresent(IfPresent {
            ifs: vec![
                Caveat::Apps([(app.0, Action::ALL)].into()),
                Caveat::FeatureSet(
                    features
                        .map(|feature| (feature.as_str().to_owned(), Action::ALL))
                        .into(),
                ),
            ],
            otherwise: Action::READ,
        }),
    ]
}

/// Everything in an organization that its members may do.
pub fn org(org: OrgNumber) -> Vec<Caveat> {
    vec![all_of(org), Caveat::IsMember]
}

/// What makes any token of an organization one that only reads.
pub fn read_only(org: OrgNumber) -> Caveat {
    Caveat::Organization {
        id: org.0,
        mask: Action::READ,
    }
}

fn all_of(org: OrgNumber) -> Caveat {
    Caveat::Organization {
        id: org.0,
        mask: Action::ALL,
    }
}

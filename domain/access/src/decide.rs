use std::net::IpAddr;

use mayfly_types::IpRange;

use crate::caveat::{AllowedCommand, Caveat, IfPresent};
use crate::image_pattern::{ImagePattern, NamedImage};
use crate::request::Request;
use crate::resources::{check, check_action};
use crate::role::Roles;

/// Why a request is not covered by a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caveat is about something the request does not name.
    #[error("the token is only good for requests to one {0}")]
    Unspecified(String),
    #[error("{0}")]
    Forbidden(String),
    /// Not what the token opens, but under which circumstances.
    #[error("the token's caveat {caveat} refuses this: {why}")]
    Limited { caveat: &'static str, why: String },
    #[error("the token has a caveat that is not understood: {0}")]
    BadCaveat(String),
}

impl Denied {
    pub(crate) fn unspecified(kind: &str) -> Denied {
        Denied::Unspecified(kind.to_owned())
    }
}

/// Whether every one of the caveats lets this be done.
///
/// # Errors
/// The first that does not.
pub fn permits<'a>(
    caveats: impl IntoIterator<Item = &'a Caveat>,
    request: &Request,
) -> Result<(), Denied> {
    let mut caveats = caveats.into_iter();
    caveats.try_for_each(|caveat| match caveat.permits(request) {
        // It is about what is run and where, and nothing is.
        Err(Denied::Unspecified(_)) if matches!(caveat, Caveat::Images(_) | Caveat::Regions(_)) => {
            Ok(())
        }
        decided => decided,
    })
}

/// Whether a token with these caveats may be used from there at all, whatever for.
///
/// # Errors
/// `Limited`.
pub fn permits_source<'a>(
    caveats: impl IntoIterator<Item = &'a Caveat>,
    source: Option<IpAddr>,
) -> Result<(), Denied> {
    let mut caveats = caveats.into_iter();
    caveats.try_for_each(|caveat| match caveat {
        Caveat::Sources(ranges) => check_source(ranges, source),
        _ => Ok(()),
    })
}

/// Whether a token with these caveats is good at `now`, in seconds since 1970, whatever for.
pub fn is_in_time<'a>(caveats: impl IntoIterator<Item = &'a Caveat>, now: i64) -> bool {
    caveats.into_iter().all(|caveat| match caveat {
        Caveat::ValidityWindow {
            not_before,
            not_after,
        } => (*not_before..=*not_after).contains(&now),
        _ => true,
    })
}

impl Caveat {
    fn permits(&self, request: &Request) -> Result<(), Denied> {
        let action = request.action;
        let same = |a: &String, b: &String| a == b;
        match self {
            Caveat::Organization { id, mask } => match request.org {
                None => Err(Denied::unspecified("organization")),
                Some(org) if *id != 0 && *id != org => Err(Denied::Forbidden(
                    "the token is for another organization".to_owned(),
                )),
                Some(_) => check_action(action, *mask, "organization"),
            },
            Caveat::Apps(open) => check(open, request.app.as_ref(), action, "app", |a, b| a == b),
            Caveat::Machines(open) => {
                check(open, request.machine.as_ref(), action, "machine", same)
            }
            Caveat::FeatureSet(open) => {
                let feature = request.feature.map(|feature| feature.as_str().to_owned());
                check(open, feature.as_ref(), action, "feature", same)
            }
            Caveat::Volumes(open) => check(open, request.volume.as_ref(), action, "volume", same),
            Caveat::MachineFeatureSet(open) => check(open, None, action, "machine feature", same),
            Caveat::AppFeatureSet(open) => check(open, None, action, "app feature", same),
            Caveat::ValidityWindow {
                not_before,
                not_after,
            } => match request.now {
                now if now > *not_after => {
                    Err(Denied::Forbidden("the token has expired".to_owned()))
                }
                now if now < *not_before => {
                    Err(Denied::Forbidden("the token is not good yet".to_owned()))
                }
                _ => Ok(()),
            },
            Caveat::Mutations(names) => match request.mutation {
                None => Err(Denied::unspecified("mutation")),
                Some(mutation) if names.iter().any(|name| name == mutation) => Ok(()),
                Some(mutation) => Err(Denied::Forbidden(format!(
                    "the token does not allow the mutation {mutation}"
                ))),
            },
            Caveat::FromMachine(id) => match &request.from_machine {
                Some(from) if from == id => Ok(()),
                _ => Err(Denied::Forbidden(format!(
                    "the token is only good from inside machine {id}"
                ))),
            },
            Caveat::IfPresent(if_present) => if_present.permits(request),
            Caveat::IsMember => permits_role(Roles::MEMBER, request),
            Caveat::AllowedRoles(roles) => permits_role(*roles, request),
            Caveat::Action(mask) => check_action(action, *mask, "resource"),
            Caveat::Commands(allowed) => permits_command(allowed, request),
            Caveat::IsUser(_) => Ok(()),
            Caveat::Sources(ranges) => check_source(ranges, request.source),
            Caveat::Images(patterns) => check_images(patterns, &request.images),
            Caveat::Regions(codes) => check_regions(codes, &request.regions),
            Caveat::ThirdParty(_) | Caveat::BindToParentToken(_) | Caveat::Attestation { .. } => {
                Err(Denied::BadCaveat(format!("number {} here", self.kind())))
            }
            Caveat::Unknown { kind, .. } => Err(Denied::BadCaveat(format!("number {kind}"))),
        }
    }
}

fn check_source(ranges: &[IpRange], source: Option<IpAddr>) -> Result<(), Denied> {
    // An address of the other family that only wraps one of this is that one.
    let source = source.map(|source| source.to_canonical());
    let limited = |why: String| {
        Err(Denied::Limited {
            caveat: "Sources",
            why: format!("{why}; it is good from {}", listed(ranges)),
        })
    };
    match source {
        Some(source) if ranges.iter().any(|range| range.contains(source)) => Ok(()),
        Some(source) => limited(format!("it comes from {source}")),
        None => limited("where it comes from is not known".to_owned()),
    }
}

fn check_images(patterns: &[ImagePattern], images: &[NamedImage]) -> Result<(), Denied> {
    if images.is_empty() {
        return Err(Denied::unspecified("image"));
    }
    let covers = |image: &NamedImage| patterns.iter().any(|pattern| pattern.covers(image));
    match images.iter().find(|image| !covers(image)) {
        None => Ok(()),
        Some(image) => Err(Denied::Limited {
            caveat: "Images",
            why: format!("the image is {image}; allowed are {}", listed(patterns)),
        }),
    }
}

fn check_regions(codes: &[String], regions: &[String]) -> Result<(), Denied> {
    if regions.is_empty() {
        return Err(Denied::unspecified("region"));
    }
    match regions.iter().find(|region| !codes.contains(region)) {
        None => Ok(()),
        Some(region) => Err(Denied::Limited {
            caveat: "Regions",
            why: format!("the region is {region}; allowed are {}", listed(codes)),
        }),
    }
}

fn listed(allowed: &[impl ToString]) -> String {
    let texts: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => "none".to_owned(),
        false => texts.join(", "),
    }
}

impl IfPresent {
    fn permits(&self, request: &Request) -> Result<(), Denied> {
        let mut spoken_of = false;
        for caveat in &self.ifs {
            match caveat.permits(request) {
                Err(Denied::Unspecified(_)) => {}
                Ok(()) => spoken_of = true,
                Err(denied) => return Err(denied),
            }
        }
        match spoken_of {
            true => Ok(()),
            false => check_action(request.action, self.otherwise, "resource"),
        }
    }
}

fn permits_role(allowed: Roles, request: &Request) -> Result<(), Denied> {
    match allowed.contains(request.role()) {
        true => Ok(()),
        false => Err(Denied::Forbidden(
            "the token does not allow what only admins may do".to_owned(),
        )),
    }
}

fn permits_command(allowed: &[AllowedCommand], request: &Request) -> Result<(), Denied> {
    let Some(words) = &request.command else {
        return Err(Denied::unspecified("command"));
    };
    let covered = allowed.iter().any(|command| match command.exact {
        true => command.args == *words,
        false => words.starts_with(&command.args),
    });
    match covered {
        true => Ok(()),
        false => Err(Denied::Forbidden(
            "the token does not allow this command".to_owned(),
        )),
    }
}

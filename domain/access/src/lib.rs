//! Who may do what: tokens that anybody can narrow and nobody can widen.
//!
//! A [`Macaroon`] is a bearer token with caveats, each signed with the signature before it, so that whoever holds it
//! can add one without asking. The bytes are those of Fly.io's tokens (`FlyV1 fm2_…`,
//! <https://github.com/superfly/macaroon>), so that clients which decode and narrow them find what they expect.
//! A [`Request`] is what somebody wants to do; [`permits`] says whether a set of caveats lets it be done.
//!
//! Where keys come from, which tokens were revoked and which organization an app belongs to is not known here.

mod action;
mod caveat;
mod decide;
mod image_pattern;
mod json;
mod kind;
mod macaroon;
mod msgpack;
mod profile;
mod request;
mod resources;
mod role;
mod text;
mod third_party;

pub use action::Action;
pub use caveat::{AllowedCommand, Caveat, IfPresent};
pub use decide::{Denied, is_in_time, permits, permits_source};
pub use image_pattern::{ImagePattern, InvalidImagePattern, NamedImage};
pub use json::{InvalidCaveat, caveats_from_json, caveats_to_json};
pub use macaroon::{InvalidMacaroon, Macaroon, Nonce, PERMISSION_LOCATION, Verified};
pub use profile::{AppNumber, OrgNumber, deploy, org, read_only};
pub use request::{Feature, Request};
pub use resources::Resources;
pub use role::Roles;
pub use text::{NotAMacaroon, header_of, is_macaroon, presented_tokens};
pub use third_party::{DischargeError, Randomness, ThirdParty, discharge, tickets_without};

//! Who asks, and whether they may see what they name.

mod allowance;
mod app;
mod caller;
mod grant;
mod machine;
mod need;
mod operator;
mod standing;
mod volume;

pub(crate) use allowance::Allowance;
pub(crate) use app::AppAccess;
pub(crate) use caller::{Anybody, Caller};
pub(crate) use grant::{Presented, holder_of, key_of};
pub(crate) use machine::MachineAccess;
pub(crate) use operator::operator;
pub(crate) use standing::{Lasting, Standing};
pub(crate) use volume::VolumeAccess;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::error::ApiError;

/// A part of the request's path by its name in the route.
pub(crate) async fn path_part(parts: &mut Parts, name: &str) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| ApiError::not_found("the path is not UTF-8"))?;
    let part = params.iter().find(|(given, _)| *given == name);
    Ok(part.map_or_else(String::new, |(_, value)| value.to_owned()))
}

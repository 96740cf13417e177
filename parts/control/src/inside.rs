//! What machines may ask of the API without a token, at a door that is theirs alone: about themselves, and little else.
//!
//! The door says which machine asks, so nothing in the request does. A request with a token is an ordinary one.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use mayfly_types::MachineId;

use crate::cloud::Cloud;
use crate::error::ApiError;

/// The machine at whose door a request arrived; an extension that the server of the door adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtDoorOf(pub MachineId);

/// What a machine may do with itself. Starting is no use, and changing what it runs or going away for good takes a token.
const OWN: [(&str, &[Method]); 15] = [
    ("", &[Method::GET]),
    ("/stop", &[Method::POST]),
    ("/suspend", &[Method::POST]),
    ("/restart", &[Method::POST]),
    ("/signal", &[Method::POST]),
    ("/cordon", &[Method::POST]),
    ("/uncordon", &[Method::POST]),
    ("/wait", &[Method::GET]),
    ("/ps", &[Method::GET]),
    ("/events", &[Method::GET]),
    ("/versions", &[Method::GET]),
    ("/memory", &[Method::GET]),
    ("/schedule", &[Method::GET]),
    ("/metadata", &[Method::GET, Method::PUT, Method::PATCH]),
    (
        "/metadata/{key}",
        &[Method::GET, Method::POST, Method::DELETE],
    ),
];

const OWN_PREFIX: &str = "/v1/apps/{app}/machines/{machine}";
const TOKENS: &str = "/v1/tokens/oidc";

/// The machine of the door, if the request brings no token of its own.
pub(crate) fn unaccompanied(parts: &Parts) -> Option<MachineId> {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    at_door_of(parts)
}

/// The machine of the door, whoever asks there.
pub(crate) fn at_door_of(parts: &Parts) -> Option<MachineId> {
    parts.extensions.get().map(|AtDoorOf(machine)| *machine)
}

/// Lets a machine without a token ask about itself only.
pub(crate) async fn keep_door(
    State(cloud): State<Arc<Cloud>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let refused = match unaccompanied(&parts) {
        Some(machine) => may_ask(&cloud, machine, &mut parts).await.err(),
        None => None,
    };
    request = Request::from_parts(parts, body);
    match refused {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    }
}

async fn may_ask(cloud: &Cloud, machine: MachineId, parts: &mut Parts) -> Result<(), ApiError> {
    let path = parts.extensions.get::<MatchedPath>();
    let path = path.map(|path| path.as_str().trim_end_matches('/').to_owned());
    let path = path.unwrap_or_default();
    if path == TOKENS || path == "/healthz" {
        return Ok(());
    }
    let refused = ApiError::new(
        StatusCode::FORBIDDEN,
        "without a token, a machine may only see, stop, suspend, restart, signal and cordon itself, and set its \
         metadata: send an Authorization header for more",
    );
    let Some(rest) = path.strip_prefix(OWN_PREFIX) else {
        return Err(refused);
    };
    let allowed = OWN
        .iter()
        .any(|(own, methods)| *own == rest && methods.contains(&parts.method));
    if !allowed {
        return Err(refused);
    }
    let machine = cloud.store.machine(machine).await?;
    let named = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| ApiError::not_found("the path is not UTF-8"))?;
    let is = |name: &str, own: &[&str]| {
        named
            .iter()
            .any(|(given, value)| given == name && own.contains(&value))
    };
    let itself = is("app", &[machine.app_name.as_str()])
        && is("machine", &[machine.id.as_str(), machine.name.as_str()]);
    if itself { Ok(()) } else { Err(refused) }
}

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use mayfly_runtime::{Clock, Entropy};
use mayfly_types::InstanceId;
use tracing::{Instrument, info_span};

const HEADER: HeaderName = HeaderName::from_static("fly-request-id");

/// The id a request is known by in logs, events and answers: a ULID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) String);

/// What makes request ids.
#[derive(Clone)]
pub(crate) struct RequestIds {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Gives the request an id, which logs carry as a field and the answer as a header.
pub(crate) async fn identify(
    State(ids): State<RequestIds>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = InstanceId::new(ids.clock.now(), ids.entropy.bytes()).to_string();
    let span = info_span!(
        "request",
        request_id = id,
        method = %request.method(),
        path = request.uri().path(),
    );
    let value = HeaderValue::from_str(&id).expect("a ULID is ASCII");
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(HEADER, value);
    response
}

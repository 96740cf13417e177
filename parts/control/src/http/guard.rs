use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::StatusCode;
use tokio::sync::Semaphore;
use tracing::error;

use crate::error::ApiError;

/// Requests at once, over all callers.
const REQUESTS_MAX: usize = 4096;

/// From the first byte of a body to the head of the answer. Long polls end sooner by themselves; a creation may have
/// to fetch an image's manifest from a slow registry.
const HEAD_MAX: Duration = Duration::from_secs(180);

/// Uploads of images take as long as they take.
const UPLOAD_PATH: &str = "/v1/images";

#[derive(Clone)]
pub(crate) struct Guard {
    places: Arc<Semaphore>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
        }
    }
}

/// Bounds the number and the time of requests, and turns a panic into an answer.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Ok(_place) = guard.places.try_acquire() else {
        return ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("busy: {REQUESTS_MAX} requests are being served"),
        )
        .retry_after(1)
        .into_response();
    };
    let limit = if request.uri().path() == UPLOAD_PATH {
        Duration::from_secs(24 * 3600)
    } else {
        HEAD_MAX
    };
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no text");
            error!(error = text, "a request panicked");
            ApiError::internal().into_response()
        }
        Err(_) => ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("no answer within {} s", HEAD_MAX.as_secs()),
        )
        .into_response(),
    }
}

//! How often callers may ask: token buckets by action, in one of the profiles an operator chooses.
//!
//! A request is charged where it becomes known whose it is, once its token is good: to an organization, an app or a
//! machine. One that is granted is never taken back. Deployments and loops of the platform make no requests here and
//! are not charged.

mod bucket;
mod profile;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use mayfly_runtime::Clock;

use crate::error::ApiError;
use bucket::{Bucket, Granted};
use profile::{Action, Scope};

pub use profile::{ApiLimits, UnknownProfile};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Buckets that are kept; beyond it those that are full again are forgotten.
const BUCKETS_MAX: usize = 16_384;

/// Who was charged for what. Ids of all kinds differ.
type Key = (String, &'static str, String);

pub(crate) struct Limiter {
    profile: ApiLimits,
    clock: Arc<dyn Clock>,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

/// What a request will be charged for, until it is known to whom.
#[derive(Clone)]
struct Charge {
    limiter: Arc<Limiter>,
    action: Arc<Action>,
    granted: Arc<OnceLock<Granted>>,
}

impl Limiter {
    pub(crate) fn new(profile: ApiLimits, clock: Arc<dyn Clock>) -> Self {
        Limiter {
            profile,
            clock,
            buckets: Mutex::default(),
        }
    }

    fn take(&self, action: &Action, payer: &str) -> Result<Granted, ApiError> {
        let now = self.clock.now();
        let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let key = (payer.to_owned(), action.name, action.path.clone());
        let bucket = buckets.entry(key).or_default();
        bucket.take(action.rate, now).map_err(|wait| {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "rate limit reached: {} {}; try again in {seconds} s",
                    action.name, action.rate
                ),
            )
            .coded("rate_limited")
            .retry_after(seconds)
        })
    }
}

/// Finds out what a request does, before it is known whose it is, and tells what is left afterwards.
pub(crate) async fn limit(
    State(limiter): State<Arc<Limiter>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let action = path.and_then(|path| limiter.profile.action(request.method(), path.as_str()));
    let Some(action) = action else {
        return next.run(request).await;
    };
    let limit = action.rate.burst;
    let granted = Arc::new(OnceLock::new());
    request.extensions_mut().insert(Charge {
        limiter,
        action: Arc::new(action),
        granted: granted.clone(),
    });
    let mut response = next.run(request).await;
    let left = match granted.get() {
        Some(Granted { left }) => *left,
        None if response.status() == StatusCode::TOO_MANY_REQUESTS => 0,
        None => return response,
    };
    let headers = response.headers_mut();
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(left));
    response
}

/// The request as one that costs nothing.
pub(crate) fn uncharged(mut parts: Parts) -> Parts {
    parts.extensions.remove::<Charge>();
    parts
}

/// Charges the request for what it does, if that is charged to payers of this kind.
///
/// # Errors
/// 429 with `Retry-After`.
fn charge(parts: &Parts, scope: Scope, org: &str, one: &str) -> Result<(), ApiError> {
    let Some(charge) = parts.extensions.get::<Charge>() else {
        return Ok(());
    };
    if charge.action.scope != scope {
        return Ok(());
    }
    let payer = if charge.action.by_org { org } else { one };
    let granted = charge.limiter.take(&charge.action, payer)?;
    // Charged once: extractors of one scope run once.
    let _ = charge.granted.set(granted);
    Ok(())
}

/// For requests about no app in particular.
pub(crate) fn charge_user(parts: &Parts, user: &str) -> Result<(), ApiError> {
    charge(parts, Scope::Account, user, user)
}

pub(crate) fn charge_app(parts: &Parts, org: &str, app: &str) -> Result<(), ApiError> {
    charge(parts, Scope::App, org, app)
}

pub(crate) fn charge_machine(parts: &Parts, org: &str, machine: &str) -> Result<(), ApiError> {
    charge(parts, Scope::Machine, org, machine)
}

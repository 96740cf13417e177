//! Apps with a time to live, such as previews of pull requests: they go even if nobody comes to take them down.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mayfly_control_store::StoreError;
use mayfly_runtime::{LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{AppId, Timestamp};
use mayfly_wire::{GoDuration, SetAppTtl};
use tracing::{info, warn};

use crate::access::AppAccess;
use crate::apps::view;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

/// Between two looks; nobody counts on the second.
const EVERY: Duration = Duration::from_secs(2);

const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `POST /v1/apps/<app>/ttl`: from now on; without `ttl`, the app stays for good.
pub(crate) async fn set(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<SetAppTtl>,
) -> Result<Json<mayfly_wire::App>, ApiError> {
    let expires_at = end(request.ttl, cloud.now())?;
    let by = access.caller.by(&cloud);
    let app = cloud.store.set_app_expiry(access.app.id, expires_at, by);
    Ok(Json(view(&cloud, &app.await?)))
}

/// When what begins to live now ends.
///
/// # Errors
/// 422 for a time out of range.
pub(crate) fn end(ttl: Option<GoDuration>, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    match ttl {
        None => Ok(None),
        Some(GoDuration(ttl)) if (TTL_MIN..=TTL_MAX).contains(&ttl) => Ok(Some(now + ttl)),
        Some(GoDuration(ttl)) => Err(ApiError::invalid(format!(
            "ttl must be from 1 second to 10 years, got {} s",
            ttl.as_secs()
        ))),
    }
}

/// Takes down what is over, as its owner would by hand.
pub(crate) struct AppExpiry {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) status: LoopHandle,
}

impl AppExpiry {
    pub(crate) async fn run(self, stop: Stop) {
        while !stop.is_cancelled() {
            let mut status = LoopStatus {
                ran_at: Some(self.cloud.now()),
                ..LoopStatus::default()
            };
            match self.cloud.store.expired_apps(self.cloud.now()).await {
                Ok(due) => {
                    for id in due {
                        match self.take_down(id).await {
                            Ok(()) => status.applied += 1,
                            Err(error) => {
                                warn!(app_id = %id, error = error.text(), "an app whose time is over stays");
                                status.waiting += 1;
                                status.last_error = Some(error.text().to_owned());
                            }
                        }
                    }
                }
                Err(error) => status.last_error = Some(report(&error)),
            }
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn take_down(&self, id: AppId) -> Result<(), ApiError> {
        let app = match self.cloud.store.app_by_id(id).await {
            Err(StoreError::NotFound { .. }) => return Ok(()),
            found => found?,
        };
        // It was given more time since we looked.
        if app.expires_at.is_none_or(|at| at > self.cloud.now()) {
            return Ok(());
        }
        info!(app = %app.name, "the app's time is over");
        let by = self.cloud.by_platform();
        self.cloud.destroy_app(&app, true, &by).await
    }
}

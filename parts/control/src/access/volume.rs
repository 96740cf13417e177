use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use mayfly_access::{Action, Request};
use mayfly_control_store::{StoreError, Volume};
use mayfly_types::VolumeId;

use super::{AppAccess, Caller, path_part};
use crate::cloud::Cloud;
use crate::error::ApiError;

/// The volume named in the path, which the caller may see. A destroyed one is remembered for a while.
pub(crate) struct VolumeAccess {
    pub(crate) caller: Caller,
    pub(crate) volume: Volume,
}

impl FromRequestParts<Arc<Cloud>> for VolumeAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let AppAccess { caller, app } = AppAccess::seen(parts, cloud).await?;
        let wanted = path_part(parts, "volume").await?;
        let unknown =
            || ApiError::not_found(format!("volume {wanted} was not found in app {}", app.name));
        let id: VolumeId = wanted.parse().map_err(|_| unknown())?;
        let volume = match cloud.store.volume(id).await {
            Ok(volume) if volume.app_id == app.id => volume,
            Ok(_) | Err(StoreError::NotFound { .. }) => return Err(unknown()),
            Err(error) => return Err(error.into()),
        };
        let request = caller.request_for(&app);
        let regions = match request.action {
            Action::READ => Vec::new(),
            _ => vec![volume.region.to_string()],
        };
        let request = Request {
            volume: Some(volume.id.to_string()),
            regions,
            ..request
        };
        caller.allow(app.org_id, request)?;
        Ok(VolumeAccess { caller, volume })
    }
}

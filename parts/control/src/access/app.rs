use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use mayfly_control_store::{App, StoreError};
use mayfly_types::AppName;

use super::{Allowance, Caller, path_part};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::limits::charge_app;

/// The app named in the path, which the caller may see.
pub(crate) struct AppAccess {
    pub(crate) caller: Caller,
    pub(crate) app: App,
}

impl FromRequestParts<Arc<Cloud>> for AppAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let access = AppAccess::seen(parts, cloud).await?;
        let AppAccess { caller, app } = &access;
        caller.allow(app.org_id, caller.request_for(app))?;
        Ok(access)
    }
}

impl AppAccess {
    pub(crate) fn allowance(&self) -> Allowance {
        self.caller.allowance(&self.app)
    }

    /// The app, whatever is to be done with it.
    pub(super) async fn seen(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, cloud).await?;
        let name = path_part(parts, "app").await?;
        // One text for all three, so that a stranger learns nothing.
        let unseen = || ApiError::not_found(format!("Could not find App \"{name}\""));
        let parsed: AppName = name.parse().map_err(|_| unseen())?;
        let app = match cloud.store.app(parsed).await {
            Ok(app) => app,
            Err(StoreError::NotFound { .. }) => return Err(unseen()),
            Err(error) => return Err(error.into()),
        };
        if !caller.sees_app(&app) {
            return Err(unseen());
        }
        charge_app(parts, app.org_id.as_str(), app.id.as_str())?;
        Ok(AppAccess { caller, app })
    }
}

//! Members of organizations: who they are is shown with the organization.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::{Org, Role, StoreError, User};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SetRole {
    role: String,
}

/// `PUT /v1/orgs/<slug>/members/<email>`: what a member may do from now on.
pub(crate) async fn set_role(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, email)): Path<(String, String)>,
    JsonBody(request): JsonBody<SetRole>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    let role = role_of(&request.role)?;
    let member = member(&cloud, org, email).await?;
    cloud
        .store
        .put_member(org.id, member.id, role, caller.by(&cloud))
        .await?;
    Ok(Json(
        json!({ "email": member.email, "role": role.as_str() }),
    ))
}

/// `DELETE /v1/orgs/<slug>/members/<email>`: with them go the tokens they made for it.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, email)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    let member = member(&cloud, org, email).await?;
    cloud
        .store
        .remove_member(org.id, member.id, caller.by(&cloud))
        .await?;
    Ok(Json(json!({ "ok": true })))
}

pub(crate) fn role_of(text: &str) -> Result<Role, ApiError> {
    text.to_ascii_lowercase()
        .parse()
        .map_err(|_| ApiError::invalid(format!("role must be admin or member, got \"{text}\"")))
}

async fn member(cloud: &Cloud, org: &Org, email: String) -> Result<User, ApiError> {
    let unknown = || {
        ApiError::not_found(format!(
            "organization \"{}\" has no member {email}",
            org.slug
        ))
    };
    let user = match cloud.store.user_by_email(email.clone()).await {
        Ok(user) => user,
        Err(StoreError::NotFound { .. }) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    match cloud.store.role(org.id, user.id).await? {
        Some(_) => Ok(user),
        None => Err(unknown()),
    }
}

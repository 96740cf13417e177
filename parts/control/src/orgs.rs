//! Organizations: Mayfly's own `/v1/orgs` and the same in the shape of the upstream client's second REST interface.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::{NewOrg, Org, OrgKind, Role, StoreError};
use mayfly_types::{OrgId, OrgSlug};
use mayfly_wire::{CreateOrg, Organization};
use serde_json::{Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

const NAME_MAX: usize = 100;

/// `GET /v1/orgs` and `GET /api/v1/organizations`.
pub(crate) async fn list(caller: Caller) -> Json<Value> {
    let organizations: Vec<Organization> = caller.orgs.iter().map(|one| view(&one.org)).collect();
    Json(json!({ "organizations": organizations }))
}

/// `GET /v1/orgs/<slug>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    detail(&cloud, &caller, &slug).await.map(Json)
}

/// `GET /api/v1/organizations/<slug>`.
pub(crate) async fn show_wrapped(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let organization = detail(&cloud, &caller, &slug).await?;
    Ok(Json(json!({ "organization": organization })))
}

/// An organization with its members and the caller's role.
async fn detail(cloud: &Cloud, caller: &Caller, slug: &str) -> Result<Value, ApiError> {
    let org = caller.org_called(slug)?;
    let members = cloud.store.members(org.id).await?;
    let members: Vec<Value> = members
        .into_iter()
        .map(|member| {
            json!({
                "name": member.user.name,
                "email": member.user.email,
                "role": member.role.as_str(),
                "joined_at": member.since,
            })
        })
        .collect();
    let mut detail = json!(view(org));
    detail["viewer_role"] = json!(caller.role(org.id).map(Role::as_str));
    detail["members"] = Value::Array(members);
    Ok(detail)
}

/// `DELETE /v1/orgs/<slug>`: an organization without apps.
pub(crate) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    cloud.store.delete_org(org.id, caller.by(&cloud)).await?;
    Ok(Json(json!({ "ok": true })))
}

/// `POST /v1/orgs`.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    JsonBody(request): JsonBody<CreateOrg>,
) -> Result<(StatusCode, Json<Organization>), ApiError> {
    let (user, _) = caller.whole_user()?;
    let name = request.name.unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "name: use 1 to {NAME_MAX} characters that can be printed"
        )));
    }
    let slug = request
        .slug
        .filter(|slug| !slug.is_empty())
        .unwrap_or_else(|| slug_of(&name));
    let slug: OrgSlug = slug
        .parse()
        .map_err(|error| ApiError::invalid(format!("slug: {error}")))?;
    let new = NewOrg {
        id: OrgId::from_random(cloud.entropy.bytes()),
        slug: slug.clone(),
        name,
        kind: OrgKind::Shared,
    };
    let created = cloud
        .store
        .create_org(new, user.id, caller.by(&cloud))
        .await;
    match created {
        Ok(org) => Ok((StatusCode::CREATED, Json(view(&org)))),
        Err(StoreError::Taken { .. }) => Err(ApiError::invalid(format!(
            "slug: \"{slug}\" has already been taken"
        ))
        .coded("name_taken")),
        Err(error) => Err(error.into()),
    }
}

/// The name in letters a slug may have.
pub(crate) fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars() {
        match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => slug.push(letter),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(63);
    slug.trim_end_matches('-').to_owned()
}

pub(crate) fn view(org: &Org) -> Organization {
    let personal = org.kind == OrgKind::Personal;
    Organization {
        id: org.id.to_string(),
        internal_numeric_id: org.numeric_id.unsigned_abs(),
        slug: org.slug.to_string(),
        raw_slug: org.slug.to_string(),
        name: org.name.clone(),
        org_type: org.kind.to_string(),
        personal,
        // Nobody is billed here, and clients warn or refuse unless all of this is said.
        paid_plan: true,
        billable: true,
        billing_status: "CURRENT".to_owned(),
        provisions_beta_extensions: false,
        remote_builder_image: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_of_names() {
        for (name, slug) in [
            ("My Staging Team", "my-staging-team"),
            ("  Ünï & Co. ", "n-co"),
            ("a--b", "a-b"),
        ] {
            assert_eq!(slug_of(name), slug);
        }
    }
}

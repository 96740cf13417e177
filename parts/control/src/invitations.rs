//! Invitations to organizations. This cloud sends no mail: whoever invites hands the code on.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use mayfly_control_store::{
    Accepting, By, NewInvitation, NewOrg, NewPerson, NewToken, OrgKind, StoreError, TokenKind,
};
use mayfly_types::{OrgId, OrgSlug, Secret, TokenId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Anybody, Caller};
use crate::bootstrap::fresh_token;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::members::role_of;
use crate::orgs::{slug_of, view};
use crate::token_hash::token_hash;

/// As long as upstream's.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

const EMAIL_MAX: usize = 254;
const NAME_MAX: usize = 100;

/// Random bytes of a code.
const CODE_BYTES: usize = 24;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Invite {
    email: String,
    /// `member` if it is left out.
    role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Accept {
    code: String,
    /// Of somebody this cloud does not know yet.
    name: Option<String>,
}

/// `POST /v1/orgs/<slug>/invitations`.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    JsonBody(request): JsonBody<Invite>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let org = caller.org_called(&slug)?;
    let (user, _) = caller.user()?;
    let email = request.email.trim().to_owned();
    if !is_email(&email) {
        return Err(ApiError::invalid(format!(
            "email must be an address such as ann@example.org, got \"{email}\""
        )));
    }
    let members = cloud.store.members(org.id).await?;
    if members.iter().any(|member| member.user.email == email) {
        return Err(ApiError::invalid(format!(
            "email: {email} is a member of organization \"{}\" already",
            org.slug
        )));
    }
    let role = role_of(request.role.as_deref().unwrap_or("member"))?;
    let secret: [u8; CODE_BYTES] = cloud.entropy.bytes();
    let code = URL_SAFE_NO_PAD.encode(secret);
    let new = NewInvitation {
        org_id: org.id,
        email,
        digest: token_hash(&code),
        role,
        invited_by: user.id,
        expires_at: cloud.now() + GOOD_FOR,
    };
    let made = cloud.store.invite(new, caller.by(&cloud)).await?;
    let answer = json!({
        "email": made.email,
        "role": made.role.as_str(),
        "organization": org.slug,
        "code": code,
        "expires_at": made.expires_at,
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `GET /v1/orgs/<slug>/invitations`: those that nobody accepted yet.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    let now = cloud.now();
    let invitations = cloud.store.invitations(org.id).await?;
    let shown: Vec<Value> = invitations
        .into_iter()
        .map(|one| {
            json!({
                "email": one.email,
                "role": one.role.as_str(),
                "created_at": one.created_at,
                "expires_at": one.expires_at,
                "expired": one.expires_at <= now,
            })
        })
        .collect();
    Ok(Json(json!({ "invitations": shown })))
}

/// `DELETE /v1/orgs/<slug>/invitations/<email>`.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, email)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    let removed = cloud
        .store
        .remove_invitation(org.id, email.clone(), caller.by(&cloud))
        .await?;
    match removed {
        true => Ok(Json(json!({ "ok": true }))),
        false => Err(ApiError::not_found(format!(
            "organization \"{}\" has no invitation for {email}",
            org.slug
        ))),
    }
}

/// `POST /v1/invitations/accept`: with a user's token, as that user; without one, as somebody new, who gets a token.
pub(crate) async fn accept(
    State(cloud): State<Arc<Cloud>>,
    Anybody(known): Anybody,
    JsonBody(request): JsonBody<Accept>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if request.code.trim().is_empty() {
        return Err(ApiError::invalid(
            "code is required: whoever invited you has it",
        ));
    }
    let digest = token_hash(request.code.trim());
    let (accepting, by, token) = match &known {
        Some(caller) => {
            let (user, _) = caller.whole_user()?;
            (Accepting::User(user.id), caller.by(&cloud), None)
        }
        None => {
            let (person, token) = person(&cloud, request.name.as_deref())?;
            let by = By::user(cloud.now(), person.id, None);
            (Accepting::New(Box::new(person)), by, Some(token))
        }
    };
    let accepted = match cloud.store.accept_invitation(digest, accepting, by).await {
        Err(StoreError::NotFound { .. }) => {
            return Err(ApiError::not_found(
                "this invitation does not exist, was taken back, has expired or was used",
            ));
        }
        Err(StoreError::Taken { what: "user", .. }) => {
            return Err(ApiError::conflict(
                "the invited address has a user here already: accept it with that user's token",
            ));
        }
        accepted => accepted?,
    };
    let answer = json!({
        "email": accepted.email,
        "organization": view(&accepted.org),
        "role": accepted.role.as_str(),
        "token": token.as_ref().map(|token| token.reveal()),
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Somebody new, with the organization and the token that everybody has.
fn person(cloud: &Cloud, name: Option<&str>) -> Result<(NewPerson, Secret), ApiError> {
    let name = name.unwrap_or_default().trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "name: say who you are in 1 to {NAME_MAX} characters that can be printed, or sign in first"
        )));
    }
    let id = UserId::from_random(cloud.entropy.bytes());
    let token = fresh_token(cloud.entropy.as_ref());
    let mark: [u8; 3] = cloud.entropy.bytes();
    let mark: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
    let slug: OrgSlug = match slug_of(name).as_str() {
        "" => format!("personal-{mark}"),
        slug => format!("{}-{mark}", &slug[..slug.len().min(40)]),
    }
    .parse()
    .map_err(|error| ApiError::invalid(format!("name: {error}")))?;
    let person = NewPerson {
        id,
        name: name.to_owned(),
        personal: NewOrg {
            id: OrgId::from_random(cloud.entropy.bytes()),
            slug,
            name: name.to_owned(),
            kind: OrgKind::Personal,
        },
        token: NewToken {
            id: TokenId::from_random(cloud.entropy.bytes()),
            digest: token_hash(token.reveal()),
            name: "invitation".to_owned(),
            kind: TokenKind::Opaque,
            user_id: id,
            org_id: None,
            expires_at: None,
        },
    };
    Ok((person, token))
}

/// Whether it looks like an address; whether somebody reads it is for them to show.
fn is_email(text: &str) -> bool {
    let printable = |letter: char| !letter.is_control() && !letter.is_whitespace();
    text.len() <= EMAIL_MAX
        && text.chars().all(printable)
        && text.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

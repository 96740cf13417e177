//! Tokens: which one this is, and those that are made for apps and organizations.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_access::{
    AppNumber, Caveat, Macaroon, Nonce, OrgNumber, PERMISSION_LOCATION, caveats_to_json, deploy,
    header_of, org as whole_org, read_only,
};
use mayfly_control_store::{
    App, Membership, NewToken, Org, OrgKind, Role, Token, TokenKind, TokenOf,
};
use mayfly_types::{AppName, TokenId};
use mayfly_wire::GoDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{AppAccess, Caller, key_of};
use crate::bootstrap::fresh_token;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;
use crate::token_hash::token_hash;

const NAME_MAX: usize = 100;

/// Twenty years, as upstream; nobody means longer.
const EXPIRY_MAX: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// A year: what runs longer unattended should be looked at once in it.
const EXPIRY: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CreateToken {
    profile: String,
    /// Needed by the profile `deploy`.
    app: Option<String>,
    name: Option<String>,
    /// Such as `720h`; a year if it is left out.
    expiry: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CreatePersonalToken {
    name: Option<String>,
    expiry: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CreateDeployToken {
    expiry: Option<String>,
}

/// `GET /v1/tokens/current`: whose token this is and what it opens.
pub(crate) async fn current(caller: Caller) -> Result<Json<Value>, ApiError> {
    let (user, token) = caller.user()?;
    let orgs: Vec<Value> = caller
        .orgs
        .iter()
        .map(|Membership { org, role }| {
            json!({
                "slug": org.slug,
                "name": org.name,
                "personal": org.kind == OrgKind::Personal,
                "role": role.as_str(),
            })
        })
        .collect();
    Ok(Json(json!({
        "user": {
            "id": user.id,
            "email": user.email,
            "name": user.name,
        },
        "token": {
            "id": token.id,
            "name": token.name,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "caveats": caller.caveats().map(caveats_to_json).collect::<Vec<_>>(),
        },
        "organizations": orgs,
    })))
}

/// `POST /v1/tokens`: another token that may do all its user may do, such as for another computer.
pub(crate) async fn create_personal(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    JsonBody(request): JsonBody<CreatePersonalToken>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (user, _) = caller.whole_user()?;
    let name = checked_name(request.name.as_deref().unwrap_or_default())?;
    let expires_at = cloud.now() + checked_expiry(request.expiry.as_deref())?;
    let text = fresh_token(cloud.entropy.as_ref());
    let id = TokenId::from_random(cloud.entropy.bytes());
    let new = NewToken {
        id,
        digest: token_hash(text.reveal()),
        name: name.to_owned(),
        kind: TokenKind::Opaque,
        user_id: user.id,
        org_id: None,
        expires_at: Some(expires_at),
    };
    cloud.store.create_token(new, caller.by(&cloud)).await?;
    Ok((
        StatusCode::CREATED,
        Json(json!({
            "id": id,
            "name": name,
            "token": text.reveal(),
            "expires_at": expires_at,
        })),
    ))
}

/// `GET /v1/tokens`: the caller's own tokens, without those for organizations and apps.
pub(crate) async fn list_personal(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let (user, _) = caller.whole_user()?;
    let tokens = cloud.store.tokens(user.id).await?;
    let own = tokens.iter().filter(|token| is_personal(token));
    let own: Vec<Value> = own.map(|token| listed(token, &user.email)).collect();
    Ok(Json(json!({ "tokens": own })))
}

fn is_personal(token: &Token) -> bool {
    token.kind == TokenKind::Opaque && token.org_id.is_none()
}

fn listed(token: &Token, email: &str) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "user": { "email": email },
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    })
}

/// `POST /v1/orgs/<slug>/tokens`.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    JsonBody(request): JsonBody<CreateToken>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let org = caller.org_called(&slug)?;
    let number = OrgNumber(org.numeric_id.unsigned_abs());
    let app = match request.app.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => Some(app_of(&cloud, &caller, org, name).await?),
        None => None,
    };
    let (caveats, app) = match (request.profile.as_str(), app) {
        ("deploy", Some(app)) => (of_app(number, &app), Some(app)),
        ("deploy", None) => return Err(ApiError::invalid("app is required for a deploy token")),
        ("deploy_organization", None) => (whole_org(number), None),
        ("readonly", None) => {
            let mut caveats = whole_org(number);
            caveats.push(read_only(number));
            (caveats, None)
        }
        ("deploy_organization" | "readonly", Some(_)) => {
            return Err(ApiError::invalid(
                "app: only a token with profile deploy is for one app",
            ));
        }
        (other, _) => {
            return Err(ApiError::invalid(format!(
                "profile must be one of deploy, deploy_organization, readonly, got \"{other}\""
            )));
        }
    };
    let name = request.name.unwrap_or_default();
    let made = make(
        &cloud,
        &caller,
        org,
        app.as_ref(),
        caveats,
        name,
        request.expiry,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// `POST /v1/apps/<app>/deploy_token`.
pub(crate) async fn create_deploy(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<CreateDeployToken>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let AppAccess { caller, app } = access;
    let org = caller.org(app.org_id).cloned();
    let org = org.ok_or_else(|| ApiError::not_found("the app's organization"))?;
    let caveats = of_app(OrgNumber(org.numeric_id.unsigned_abs()), &app);
    let name = "deploy token".to_owned();
    let made = make(
        &cloud,
        &caller,
        &org,
        Some(&app),
        caveats,
        name,
        request.expiry,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

fn of_app(org: OrgNumber, app: &App) -> Vec<Caveat> {
    deploy(org, AppNumber(app.numeric_id.unsigned_abs()))
}

async fn app_of(cloud: &Cloud, caller: &Caller, org: &Org, name: &str) -> Result<App, ApiError> {
    let unseen = || ApiError::not_found(format!("Could not find App \"{name}\""));
    let parsed: AppName = name.parse().map_err(|_| unseen())?;
    let app = cloud.store.app(parsed).await.map_err(|_| unseen())?;
    match app.org_id == org.id && caller.sees_app(&app) {
        true => Ok(app),
        false => Err(unseen()),
    }
}

async fn make(
    cloud: &Cloud,
    caller: &Caller,
    org: &Org,
    app: Option<&App>,
    caveats: Vec<Caveat>,
    name: String,
    expiry: Option<String>,
) -> Result<Value, ApiError> {
    // A token that makes tokens would live on after it was revoked; narrowing one needs nobody.
    let (user, _) = caller.whole_user()?;
    let name = checked_name(&name)?;
    let lives = checked_expiry(expiry.as_deref())?;
    let now = cloud.now();
    let expires_at = now + lives;
    let id = TokenId::from_random(cloud.entropy.bytes());
    let nonce = Nonce::new(id.as_str().as_bytes(), cloud.entropy.bytes());
    let mut token = Macaroon::new(nonce, PERMISSION_LOCATION, &key_of(cloud, id));
    let window = Caveat::ValidityWindow {
        // Clocks of whoever checks may be behind.
        not_before: now.as_millis() / 1000 - 60,
        not_after: expires_at.as_millis() / 1000,
    };
    for caveat in caveats.into_iter().chain([window]) {
        token.add(caveat).expect("a new token is no proof");
    }
    let new = NewToken {
        id,
        digest: token_hash(&token.text()),
        name: name.to_owned(),
        kind: TokenKind::Macaroon {
            app: app.map(|app| app.id),
        },
        user_id: user.id,
        org_id: Some(org.id),
        expires_at: Some(expires_at),
    };
    cloud.store.create_token(new, caller.by(cloud)).await?;
    Ok(json!({
        "id": id,
        "name": name,
        "token": header_of([&token]),
        "expires_at": expires_at,
    }))
}

fn checked_name(name: &str) -> Result<&str, ApiError> {
    let name = match name.trim() {
        "" => "token",
        name => name,
    };
    if name.chars().count() > NAME_MAX || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "name: use 1 to {NAME_MAX} characters that can be printed"
        )));
    }
    Ok(name)
}

fn checked_expiry(expiry: Option<&str>) -> Result<Duration, ApiError> {
    let lives = match expiry.filter(|text| !text.is_empty()) {
        None => EXPIRY,
        Some(text) => {
            let read = text.parse::<GoDuration>();
            read.map_err(|error| ApiError::invalid(format!("expiry: {error}")))?
                .0
        }
    };
    if lives < Duration::from_secs(1) || lives > EXPIRY_MAX {
        return Err(ApiError::invalid(
            "expiry must be from 1s to 175200h (20 years), such as 720h",
        ));
    }
    Ok(lives)
}

/// `GET /v1/orgs/<slug>/tokens`: the tokens of the organization, or with `?app=` those of an app.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    query.only(&["app"])?;
    let org = caller.org_called(&slug)?;
    let of = match query.text("app") {
        Some(name) => TokenOf::App(app_of(&cloud, &caller, org, name).await?.id),
        None => TokenOf::Org(org.id),
    };
    let mut tokens = Vec::new();
    for token in cloud.store.tokens_of(of).await? {
        let user = cloud.store.user(token.user_id).await?;
        tokens.push(listed(&token, &user.email));
    }
    Ok(Json(json!({ "tokens": tokens })))
}

/// `DELETE /v1/tokens/<id>`: one's own, or as an admin any of the organization's.
pub(crate) async fn revoke(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    // Not repeated: it may be a token's text.
    let parsed: TokenId = id.parse().map_err(|_| {
        ApiError::not_found(
            "this is not the id of a token, which has 16 of 0-9 and a-f: tokens list shows it",
        )
    })?;
    let unknown = || ApiError::not_found(format!("there is no token {parsed}"));
    let (user, _) = caller.whole_user()?;
    let token: Token = cloud.store.token(parsed).await.map_err(|_| unknown())?;
    let is_admin = |one: &&Membership| Some(one.org.id) == token.org_id && one.role == Role::Admin;
    if token.user_id != user.id && !caller.orgs.iter().any(|one| is_admin(&one)) {
        return Err(unknown());
    }
    if is_personal(&token) && token.revoked_at.is_none() {
        let now = cloud.now();
        let is_good = |one: &&Token| {
            is_personal(one)
                && one.revoked_at.is_none()
                && one.expires_at.is_none_or(|ends| ends > now)
        };
        let all = cloud.store.tokens(user.id).await?;
        if all.iter().filter(is_good).all(|one| one.id == token.id) {
            return Err(ApiError::invalid(
                "this is the last token of its user, who could make no other without it: make one first (tokens create personal)",
            ));
        }
    }
    cloud.store.revoke_token(parsed, caller.by(&cloud)).await?;
    Ok(Json(json!({ "ok": true })))
}

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::{IssuedCertificate, Org};
use mayfly_ssh::{CertificateRequest, PublicKey};
use mayfly_types::AppName;
use mayfly_wire::GoDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::authority::authority;
use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

const HOURS_MAX: i64 = 72;
const TTL_MAX: Duration = Duration::from_secs(72 * 3600);
const HOURS: i64 = 24;
const USERS_MAX: usize = 32;
const APPS_MAX: usize = 100;
/// As long as Linux lets a user's name be.
const USER_LENGTH_MAX: usize = 32;

/// A host's clock may be behind ours.
const BEGINS_BEFORE: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IssueCertificate {
    public_key: String,
    hours: Option<i64>,
    /// In place of hours.
    ttl: Option<GoDuration>,
    /// `root` and `fly` if none is named.
    users: Vec<String>,
    /// Names of apps; none means every app of the organization.
    apps: Vec<String>,
}

/// `POST /v1/orgs/<slug>/ssh/certificates`: signs a public key for a while.
pub(crate) async fn issue(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    JsonBody(request): JsonBody<IssueCertificate>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (user, _) = caller.user()?;
    let org = caller.org_called(&slug)?;
    let key: PublicKey = request
        .public_key
        .parse()
        .map_err(|error| ApiError::invalid(format!("public_key: {error}")))?;
    let lifetime = lifetime(request.hours, request.ttl)?;
    let principals = users(request.users)?;
    let apps = apps(&cloud, &caller, org, &request.apps).await?;
    let authority = authority(&cloud, org, caller.by(&cloud)).await?;
    let now = cloud.now();
    // Positive as a signed number too, for whoever stores it as one.
    let serial = u64::from_be_bytes(cloud.entropy.bytes()) >> 1;
    let signed = CertificateRequest {
        key,
        nonce: cloud.entropy.bytes(),
        serial,
        key_id: format!("user:{}/{}", user.id, user.email),
        principals: principals.clone(),
        valid_from: now - BEGINS_BEFORE,
        valid_until: now + lifetime,
        apps: apps.clone(),
    };
    let issued = IssuedCertificate {
        org_id: org.id,
        serial,
        principals,
        apps,
        fingerprint: key.fingerprint(),
        valid_until: signed.valid_until,
    };
    let by = caller.by(&cloud);
    cloud.store.certificate_issued(issued, by).await?;
    let answer = json!({
        "certificate": signed.issue(&authority),
        "serial": serial,
        "valid_until": signed.valid_until,
        "authority": authority.public().to_string(),
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

fn lifetime(hours: Option<i64>, ttl: Option<GoDuration>) -> Result<Duration, ApiError> {
    match (hours, ttl) {
        (Some(_), Some(_)) => Err(ApiError::invalid("say either hours or ttl")),
        (None, Some(GoDuration(ttl))) if ttl.is_zero() || ttl > TTL_MAX => {
            Err(ApiError::invalid("ttl must be from 1s to 72h"))
        }
        (None, Some(GoDuration(ttl))) => Ok(ttl),
        (hours, None) => {
            let hours = hours.unwrap_or(HOURS);
            if !(1..=HOURS_MAX).contains(&hours) {
                return Err(ApiError::invalid(format!(
                    "hours must be from 1 to {HOURS_MAX}, got {hours}"
                )));
            }
            Ok(Duration::from_secs(hours.unsigned_abs() * 3600))
        }
    }
}

fn users(given: Vec<String>) -> Result<Vec<String>, ApiError> {
    if given.is_empty() {
        return Ok(["root", "fly"].map(str::to_owned).to_vec());
    }
    let bad = |name: &String| {
        let good = |letter: char| letter.is_ascii_alphanumeric() || "._-$".contains(letter);
        name.is_empty() || name.len() > USER_LENGTH_MAX || !name.chars().all(good)
    };
    if given.len() > USERS_MAX || given.iter().any(bad) {
        return Err(ApiError::invalid(format!(
            "users must be at most {USERS_MAX} names of users, of letters, digits, dots and dashes"
        )));
    }
    Ok(given)
}

async fn apps(
    cloud: &Cloud,
    caller: &Caller,
    org: &Org,
    given: &[String],
) -> Result<Vec<String>, ApiError> {
    if given.len() > APPS_MAX {
        return Err(ApiError::invalid(format!(
            "apps must be at most {APPS_MAX} names"
        )));
    }
    for name in given {
        let unseen = || ApiError::not_found(format!("Could not find App \"{name}\""));
        let parsed: AppName = name.parse().map_err(|_| unseen())?;
        let app = cloud.store.app(parsed).await.map_err(|_| unseen())?;
        if app.org_id != org.id {
            return Err(unseen());
        }
        caller.may_enter(org, Some(&app))?;
    }
    if given.is_empty() {
        caller.may_enter(org, None)?;
    }
    Ok(given.to_vec())
}

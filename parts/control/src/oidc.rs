//! Tokens by which machines prove to third parties who they are: OpenID Connect.
//!
//! Claims and call as in <https://fly.io/docs/security/openid-connect/>. Each organization is an issuer with keys of its
//! own, which follow each other; the public halves are shown to everybody.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use mayfly_certs::SigningKey;
use mayfly_control_store::{By, Machine, OidcKey, Org, StoreError};
use mayfly_types::{OrgId, OrgSlug};
use mayfly_wire::CreateOidcToken;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::inside::AtDoorOf;

/// How long a token is good.
const LIFE: Duration = Duration::from_secs(600);
/// A key signs for so long, and is shown for a week more.
const SIGNS: Duration = Duration::from_secs(30 * 86_400);
const SHOWN: Duration = Duration::from_secs(37 * 86_400);
const AUDIENCE_MAX: usize = 1024;

/// `POST /v1/tokens/oidc`, from inside a machine: a signed token, as plain text.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    door: Option<Extension<AtDoorOf>>,
    JsonBody(request): JsonBody<CreateOidcToken>,
) -> Result<Response, ApiError> {
    let Some(Extension(AtDoorOf(machine))) = door else {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "tokens are made for machines, which ask at /.fly/api",
        ));
    };
    let machine = cloud.store.machine(machine).await?;
    let org = cloud.store.org(machine.org_id).await?;
    let issuer = cloud.settings.oidc_issuer(org.slug.as_str());
    let audience = request.aud.unwrap_or_default();
    if audience.len() > AUDIENCE_MAX {
        return Err(ApiError::invalid(format!(
            "aud must have at most {AUDIENCE_MAX} bytes"
        )));
    }
    let audience = if audience.is_empty() {
        issuer.clone()
    } else {
        audience
    };
    let mut claims = claims(&cloud, &machine, &org, &issuer, &audience);
    if request.aws_principal_tags == Some(true) {
        claims["https://aws.amazon.com/tags"] = principal_tags(&claims);
    }
    let (_, key) = signing_key(&cloud, org.id).await?;
    let token = key
        .token(&claims)
        .map_err(|error| ApiError::of_part(error.kind(), &error))?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, token).into_response())
}

fn claims(cloud: &Cloud, machine: &Machine, org: &Org, issuer: &str, audience: &str) -> Value {
    let issued = cloud.now();
    let seconds = |at: mayfly_types::Timestamp| at.as_millis() / 1000;
    let app = machine.app_name.as_str();
    json!({
        "iss": issuer,
        "sub": format!("{}:{app}:{}", org.slug, machine.name),
        "aud": audience,
        "iat": seconds(issued),
        "nbf": seconds(issued),
        "exp": seconds(issued + LIFE),
        "jti": unique_id(cloud.entropy.bytes()),
        "org_id": org.numeric_id.to_string(),
        "org_name": org.slug,
        "app_id": machine.app_id,
        "app_name": app,
        "machine_id": machine.id,
        "machine_name": machine.name,
        "machine_version": machine.instance_id,
        "image": machine.image.to_string(),
        "image_digest": machine.spec.image.digest(),
        "region": machine.region,
    })
}

/// Session tags as AWS reads them from a token.
fn principal_tags(claims: &Value) -> Value {
    let names = [
        "org_name",
        "app_name",
        "machine_id",
        "machine_name",
        "region",
    ];
    let tags = names.map(|name| (name.to_owned(), json!([claims[name]])));
    json!({
        "principal_tags": tags.into_iter().collect::<serde_json::Map<_, _>>(),
        "transitive_tag_keys": names,
    })
}

/// A random UUID (RFC 9562, version 4).
fn unique_id(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// `GET /oidc/<org>/.well-known/openid-configuration`, for everybody.
pub(crate) async fn discovery(
    State(cloud): State<Arc<Cloud>>,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let org = issuing_org(&cloud, slug).await?;
    let issuer = cloud.settings.oidc_issuer(org.slug.as_str());
    Ok(Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "org_id", "org_name", "app_id", "app_name",
            "machine_id", "machine_name", "machine_version", "image", "image_digest", "region",
        ],
    })))
}

/// `GET /oidc/<org>/.well-known/jwks`, for everybody.
pub(crate) async fn keys(
    State(cloud): State<Arc<Cloud>>,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let org = issuing_org(&cloud, slug).await?;
    let keys = cloud.store.oidc_keys(org.id, cloud.now() - SHOWN).await?;
    let keys: Vec<Value> = keys
        .iter()
        .filter_map(|key| serde_json::from_str(&key.public_key).ok())
        .collect();
    Ok(Json(json!({ "keys": keys })))
}

/// `POST /v1/orgs/<slug>/oidc_keys`: a new key signs from now on; tokens of the earlier ones stay good.
pub(crate) async fn rotate(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let org = caller.org_called(&slug)?.id;
    let made = make_key(&cloud, org, None, caller.by(&cloud)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": made.id }))))
}

async fn issuing_org(cloud: &Cloud, slug: String) -> Result<Org, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no issuer {slug}"));
    let parsed: OrgSlug = slug.parse().map_err(|_| unknown())?;
    match cloud.store.org_by_slug(parsed).await {
        Err(StoreError::NotFound { .. }) => Err(unknown()),
        found => Ok(found?),
    }
}

/// The key that signs now, made if there is none or the last is old.
async fn signing_key(cloud: &Cloud, org: OrgId) -> Result<(String, SigningKey), ApiError> {
    let since = cloud.now() - SIGNS;
    let newest = cloud.store.oidc_keys(org, since).await?.into_iter().next();
    let stored = match newest {
        Some(stored) => stored,
        None => make_key(cloud, org, Some(since), cloud.by_platform()).await?,
    };
    let opened = cloud
        .certificates
        .sealer
        .open_sealed(&stored.sealed_key, &sealing_context(&stored.id))
        .map_err(|error| ApiError::of_part(error.kind(), &error))?;
    let key =
        SigningKey::from_pkcs8(&opened).map_err(|error| ApiError::of_part(error.kind(), &error))?;
    Ok((stored.id, key))
}

async fn make_key(
    cloud: &Cloud,
    org: OrgId,
    unless_since: Option<mayfly_types::Timestamp>,
    by: By,
) -> Result<OidcKey, ApiError> {
    let (key, secret) =
        SigningKey::generate().map_err(|error| ApiError::of_part(error.kind(), &error))?;
    let id = key.id();
    let sealed_key =
        cloud
            .certificates
            .sealer
            .seal(&secret, &sealing_context(&id), cloud.entropy.as_ref());
    let now = cloud.now();
    let new = OidcKey {
        org_id: org,
        sealed_key,
        public_key: key.public_key().to_string(),
        created_at: now,
        id,
    };
    let forgotten = now - SHOWN;
    Ok(cloud
        .store
        .add_oidc_key(new, unless_since, forgotten, by)
        .await?)
}

fn sealing_context(id: &str) -> String {
    format!("oidc key {id}")
}

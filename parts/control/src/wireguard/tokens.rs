//! `/v1/orgs/<slug>/wireguard_tokens`: rights to enter devices, for programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use mayfly_control_store::StoreError;
use mayfly_wire as wire;

use super::{checked_name, unknown};
use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::token_hash::token_hash;

/// Says what a token is for to whoever finds it.
const MARK: &str = "mfw1_";
const TOKEN_BYTES: usize = 32;
/// Tokens of one organization.
const TOKENS_MAX: usize = 200;

/// `GET /v1/orgs/<slug>/wireguard_tokens`, by name.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<wire::WireguardTokens>, ApiError> {
    let org = caller.org_called(&slug)?;
    let tokens = cloud.store.wireguard_tokens(org.id).await?;
    let tokens = tokens.into_iter().map(|token| wire::WireguardToken {
        name: token.name,
        created_at: Some(token.created_at),
    });
    Ok(Json(wire::WireguardTokens {
        tokens: tokens.collect(),
    }))
}

/// `POST /v1/orgs/<slug>/wireguard_tokens`: a new token, whose text is in this answer and nowhere else.
pub(crate) async fn create(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    JsonBody(request): JsonBody<wire::CreateWireguardToken>,
) -> Result<(StatusCode, Json<wire::CreatedWireguardToken>), ApiError> {
    caller.user()?;
    let org = caller.org_called(&slug)?;
    let name = checked_name(request.name.unwrap_or_default())?;
    if cloud.store.wireguard_tokens(org.id).await?.len() >= TOKENS_MAX {
        return Err(ApiError::invalid(format!(
            "organization \"{slug}\" has {TOKENS_MAX} WireGuard tokens; delete some first"
        )));
    }
    let bytes: [u8; TOKEN_BYTES] = cloud.entropy.bytes();
    let token = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes));
    let by = caller.by(&cloud);
    let recorded = cloud
        .store
        .create_wireguard_token(org.id, &name, token_hash(&token), by)
        .await;
    match recorded {
        Ok(()) => {
            let created = wire::CreatedWireguardToken { name, token };
            Ok((StatusCode::CREATED, Json(created)))
        }
        Err(StoreError::Taken { .. }) => Err(ApiError::invalid(format!(
            "name: organization \"{slug}\" has a WireGuard token called \"{name}\""
        ))
        .coded("name_taken")),
        Err(other) => Err(other.into()),
    }
}

/// `DELETE /v1/orgs/<slug>/wireguard_tokens/<name>`: it enters nothing any more; devices it entered stay.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path((slug, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let org = caller.org_called(&slug)?;
    let by = caller.by(&cloud);
    let deleted = cloud.store.delete_wireguard_token(org.id, &name, by).await;
    deleted.map_err(|error| unknown(error, org, "token", &name))?;
    Ok(StatusCode::NO_CONTENT)
}

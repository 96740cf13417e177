use axum::Json;
use mayfly_control_store::OrgKind;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::error::ApiError;

/// `GET /v1/tokens/current`: whose token this is and what it opens.
pub(crate) async fn current(caller: Caller) -> Result<Json<Value>, ApiError> {
    let (user, token) = caller.user()?;
    let orgs: Vec<Value> = caller
        .orgs
        .iter()
        .map(|org| {
            json!({
                "slug": org.slug,
                "name": org.name,
                "personal": org.kind == OrgKind::Personal,
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
        },
        "organizations": orgs,
    })))
}

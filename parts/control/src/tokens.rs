use axum::Json;
use mayfly_control_store::OrgKind;
use serde_json::{Value, json};

use crate::access::Caller;

/// `GET /v1/tokens/current`: whose token this is and what it opens.
pub(crate) async fn current(caller: Caller) -> Json<Value> {
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
    Json(json!({
        "user": {
            "id": caller.user.id,
            "email": caller.user.email,
            "name": caller.user.name,
        },
        "token": {
            "id": caller.token.id,
            "name": caller.token.name,
            "created_at": caller.token.created_at,
            "expires_at": caller.token.expires_at,
        },
        "organizations": orgs,
    }))
}

//! How much organizations may have: `/v1/orgs/<slug>/budget`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::{Budget, Org};
use mayfly_wire::{GoDuration, SetBudget};
use serde_json::{Value, json};

use crate::access::Caller;
use crate::app_expiry;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

const MOST: i64 = 1_000_000;

/// `GET /v1/orgs/<slug>/budget`: the budget, and what is used of it.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    shown(&cloud, org).await
}

/// `PUT /v1/orgs/<slug>/budget`: all of it. What the organization has beyond it stays.
pub(crate) async fn set(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    JsonBody(request): JsonBody<SetBudget>,
) -> Result<Json<Value>, ApiError> {
    let org = caller.org_called(&slug)?;
    let now = cloud.now();
    app_expiry::end(request.ttl, now)?;
    let budget = Budget {
        apps: number("apps", request.apps)?,
        machines: number("machines", request.machines)?,
        ttl: request.ttl.map(|GoDuration(ttl)| ttl),
    };
    let by = caller.by(&cloud);
    cloud.store.set_budget(org.id, budget, by).await?;
    shown(&cloud, org).await
}

fn number(field: &str, given: Option<i64>) -> Result<Option<i64>, ApiError> {
    match given {
        Some(number) if !(0..=MOST).contains(&number) => Err(ApiError::invalid(format!(
            "{field} must be a number from 0 to {MOST}, got {number}"
        ))),
        given => Ok(given),
    }
}

async fn shown(cloud: &Cloud, org: &Org) -> Result<Json<Value>, ApiError> {
    let (budget, used) = cloud.store.budget(org.id).await?;
    Ok(Json(json!({
        "budget": {
            "apps": budget.apps,
            "machines": budget.machines,
            "ttl": budget.ttl.map(GoDuration),
        },
        "used": { "apps": used.apps, "machines": used.machines },
    })))
}

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::target::{network, target};
use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

/// An address in the same fleet that is silent for longer is not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// `POST /v1/orgs/<slug>/ping?to=<host>`: one ICMPv6 echo to a private address.
pub(crate) async fn ping(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    query.only(&["to", "app", "network"])?;
    let org = caller.org_called(&slug)?;
    let host = query.text("to").ok_or_else(|| {
        ApiError::unreadable("query parameter \"to\" is required: a name or an address")
    })?;
    let network = network(&cloud, &caller, org, &query).await?;
    let target = target(&cloud, org, network, host).await?;
    let took = target.host.ping(target.address, PATIENCE).await?;
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    Ok(Json(json!({ "address": target.address, "rtt_us": micros })))
}

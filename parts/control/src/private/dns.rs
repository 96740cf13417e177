use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;

use super::target::network;
use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

const MEDIA_TYPE: &str = "application/dns-message";

/// `POST /v1/orgs/<slug>/dns`: DNS over HTTP (RFC 8484) as a machine of the organization's network asks `fdaa::3`.
pub(crate) async fn dns(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
    message: Bytes,
) -> Result<Response, ApiError> {
    query.only(&["app", "network"])?;
    let org = caller.org_called(&slug)?;
    let network = network(&cloud, &caller, org, &query).await?;
    let regions = cloud.regions();
    let region = regions.default_region();
    let answer = cloud.names.ask(network, region, &message).await;
    let answer = answer.ok_or_else(|| ApiError::unreadable("the body is no DNS query"))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], answer).into_response())
}

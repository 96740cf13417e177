use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mayfly_control_store::AppFilter;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;

/// `GET /v1/status`: the cloud at a glance, with what its loops do.
pub(crate) async fn status(
    State(cloud): State<Arc<Cloud>>,
    _caller: Caller,
) -> Result<Json<Value>, ApiError> {
    let apps = cloud.store.apps(AppFilter::default()).await?;
    let hosts = cloud.hosts.status().await;
    let gateways = cloud.gateways.iter().map(|gateway| gateway.info());
    let gateways = gateways.map(|gateway| {
        json!({
            "region": gateway.region,
            "endpoint": gateway.endpoint,
            "port": gateway.port,
            "websocket_port": gateway.websocket_port,
            "wireguard": gateway.wireguard,
        })
    });
    Ok(Json(json!({
        "version": cloud.settings.version,
        "host": hosts.first(),
        "hosts": hosts,
        "edges": cloud.settings.edges,
        "gateways": gateways.collect::<Vec<_>>(),
        "loops": cloud.loops.read(),
        "apps": apps.len(),
        "machines": cloud.store.count_machines().await?,
    })))
}

/// `GET /healthz`: whether requests can be served. Asks for no token.
pub(crate) async fn health(State(cloud): State<Arc<Cloud>>) -> Result<Json<Value>, ApiError> {
    cloud.store.newest_event().await?;
    Ok(Json(json!({ "status": "ok" })))
}

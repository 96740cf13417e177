use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::MetadataChange;
use mayfly_wire::{MetadataPatch, MetadataValue};

use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;

type Metadata = BTreeMap<String, String>;

/// `GET …/metadata`.
pub(crate) async fn show(access: MachineAccess) -> Json<Metadata> {
    Json(access.machine.spec.metadata)
}

/// `GET …/metadata/<key>`.
pub(crate) async fn show_key(
    access: MachineAccess,
    Path((_, _, key)): Path<(String, String, String)>,
) -> Result<Json<MetadataValue>, ApiError> {
    match access.machine.spec.metadata.get(&key) {
        Some(value) => Ok(Json(MetadataValue {
            value: Some(value.clone()),
        })),
        None => Err(ApiError::not_found(format!(
            "metadata key \"{key}\" is not set"
        ))),
    }
}

/// `POST …/metadata/<key>`. Metadata asks for no lease and makes no version: deployments write it beside their own
/// lease.
pub(crate) async fn set_key(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    Path((_, _, key)): Path<(String, String, String)>,
    JsonBody(request): JsonBody<MetadataValue>,
) -> Result<StatusCode, ApiError> {
    let value = request
        .value
        .ok_or_else(|| ApiError::unreadable("field \"value\" is required"))?;
    put(&cloud, &access, key, Some(value)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE …/metadata/<key>`.
pub(crate) async fn remove_key(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    Path((_, _, key)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    put(&cloud, &access, key, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT …/metadata`: these keys and no others.
pub(crate) async fn replace(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<MetadataPatch>,
) -> Result<Json<Metadata>, ApiError> {
    apply(&cloud, &access, request, true).await
}

/// `PATCH …/metadata`: these keys; `null` removes one.
pub(crate) async fn patch(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<MetadataPatch>,
) -> Result<Json<Metadata>, ApiError> {
    apply(&cloud, &access, request, false).await
}

async fn apply(
    cloud: &Cloud,
    access: &MachineAccess,
    request: MetadataPatch,
    replaces: bool,
) -> Result<Json<Metadata>, ApiError> {
    let keys = request
        .metadata
        .ok_or_else(|| ApiError::unreadable("field \"metadata\" is required"))?;
    let current = access.machine.instance_id;
    let version = match request.machine_version.as_deref() {
        None | Some("") => None,
        // Compared again in the transaction that makes the change.
        Some(version) if version == current.as_str() => Some(current),
        Some(_) => {
            return Err(ApiError::new(
                StatusCode::PRECONDITION_FAILED,
                format!("the machine is at version {current}"),
            ));
        }
    };
    let change = MetadataChange {
        keys,
        replaces,
        version,
    };
    Ok(Json(change_metadata(cloud, access, change).await?))
}

async fn change_metadata(
    cloud: &Cloud,
    access: &MachineAccess,
    change: MetadataChange,
) -> Result<Metadata, ApiError> {
    if change.keys.keys().any(String::is_empty) {
        return Err(ApiError::invalid("metadata keys must not be empty"));
    }
    let by = access.caller.by(cloud);
    let changed = cloud
        .store
        .change_metadata(access.machine.id, change, by)
        .await?;
    Ok(changed.spec.metadata)
}

async fn put(
    cloud: &Cloud,
    access: &MachineAccess,
    key: String,
    value: Option<String>,
) -> Result<(), ApiError> {
    let change = MetadataChange {
        keys: BTreeMap::from([(key, value)]),
        ..MetadataChange::default()
    };
    change_metadata(cloud, access, change).await.map(drop)
}

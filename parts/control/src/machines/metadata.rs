use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_types::MachineId;
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
    put(&cloud, &access, access.machine.id, key, Some(value)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE …/metadata/<key>`.
pub(crate) async fn remove_key(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    Path((_, _, key)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    put(&cloud, &access, access.machine.id, key, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT …/metadata`: these keys and no others.
pub(crate) async fn replace(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<MetadataPatch>,
) -> Result<Json<Metadata>, ApiError> {
    check_version(&access, &request)?;
    let wanted = request
        .metadata
        .ok_or_else(|| ApiError::unreadable("field \"metadata\" is required"))?;
    let mut changes: BTreeMap<String, Option<String>> = access
        .machine
        .spec
        .metadata
        .keys()
        .map(|key| (key.clone(), None))
        .collect();
    changes.extend(wanted);
    apply(&cloud, &access, changes).await
}

/// `PATCH …/metadata`: these keys; `null` removes one.
pub(crate) async fn patch(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    JsonBody(request): JsonBody<MetadataPatch>,
) -> Result<Json<Metadata>, ApiError> {
    check_version(&access, &request)?;
    let changes = request
        .metadata
        .ok_or_else(|| ApiError::unreadable("field \"metadata\" is required"))?;
    apply(&cloud, &access, changes).await
}

fn check_version(access: &MachineAccess, request: &MetadataPatch) -> Result<(), ApiError> {
    let current = access.machine.instance_id;
    match request.machine_version.as_deref() {
        None | Some("") => Ok(()),
        Some(version) if version == current.as_str() => Ok(()),
        Some(_) => Err(ApiError::new(
            StatusCode::PRECONDITION_FAILED,
            format!("the machine is at version {current}"),
        )),
    }
}

async fn apply(
    cloud: &Cloud,
    access: &MachineAccess,
    changes: BTreeMap<String, Option<String>>,
) -> Result<Json<Metadata>, ApiError> {
    for (key, value) in changes {
        put(cloud, access, access.machine.id, key, value).await?;
    }
    let machine = cloud.store.machine(access.machine.id).await?;
    Ok(Json(machine.spec.metadata))
}

async fn put(
    cloud: &Cloud,
    access: &MachineAccess,
    machine: MachineId,
    key: String,
    value: Option<String>,
) -> Result<(), ApiError> {
    if key.is_empty() {
        return Err(ApiError::invalid("metadata keys must not be empty"));
    }
    let by = access.caller.by(cloud);
    cloud.store.set_metadata(machine, key, value, by).await?;
    Ok(())
}

//! `/v1/apps/<app>/secrets`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use mayfly_control_store::{AppSecret, MachineSecrets, SealedSecret, SecretChange, SecretSet};
use mayfly_types::{AppId, SecretName};
use mayfly_wire::{AppSecrets, SecretsVersion, SetSecret, SetSecrets, VersionedSecret};

use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;

/// Bytes of one value. The kernel gives a program no variable longer than 128 KiB with its name (execve(2)).
const VALUE_MAX: usize = 96 << 10;

/// Bytes of all values of an app: they and the rest of the environment must fit into what execve(2) allows.
const VALUES_MAX: usize = 1 << 20;

/// Secrets of one app.
const SECRETS_MAX: usize = 1000;

/// `GET …/secrets`: names and digests.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<AppSecrets>, ApiError> {
    let set = read(&cloud, access.app.id, &query).await?;
    Ok(Json(shown(&cloud, access.app.id, set).await?))
}

/// `GET …/secrets/<name>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path((_, name)): Path<(String, String)>,
    query: Query,
) -> Result<Json<VersionedSecret>, ApiError> {
    let set = read(&cloud, access.app.id, &query).await?;
    let shown = shown(&cloud, access.app.id, set).await?;
    one(shown, &name, &access)
}

/// `POST …/secrets`: sets and unsets several in one step. Running machines keep what they have until they are updated.
pub(crate) async fn change(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<SetSecrets>,
) -> Result<Json<AppSecrets>, ApiError> {
    let values = request
        .values
        .ok_or_else(|| ApiError::invalid("values is required: {\"NAME\": \"value\" or null}"))?;
    let mut named = BTreeMap::new();
    for (name, value) in values {
        named.insert(secret_name(&name, "values")?, value);
    }
    let set = apply(&cloud, &access, named).await?;
    Ok(Json(shown(&cloud, access.app.id, set).await?))
}

/// `POST …/secrets/<name>`.
pub(crate) async fn set_one(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path((_, name)): Path<(String, String)>,
    JsonBody(request): JsonBody<SetSecret>,
) -> Result<Json<VersionedSecret>, ApiError> {
    let value = request
        .value
        .ok_or_else(|| ApiError::invalid("value is required"))?;
    let named = BTreeMap::from([(secret_name(&name, "name")?, Some(value))]);
    let set = apply(&cloud, &access, named).await?;
    let shown = shown(&cloud, access.app.id, set).await?;
    one(shown, &name, &access)
}

/// `DELETE …/secrets/<name>`. Clients delete a name that does not exist to learn the version: that succeeds.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    Path((_, name)): Path<(String, String)>,
) -> Result<Json<SecretsVersion>, ApiError> {
    // A name that breaks the rule names nothing.
    let set = match name.parse::<SecretName>() {
        Ok(name) => apply(&cloud, &access, BTreeMap::from([(name, None)])).await?,
        Err(_) => cloud.store.app_secrets(access.app.id).await?,
    };
    Ok(Json(SecretsVersion {
        version: set.version.unsigned_abs(),
    }))
}

/// The secrets, if they are as new as the caller knows them to be.
async fn read(cloud: &Cloud, app: AppId, query: &Query) -> Result<SecretSet, ApiError> {
    if query.flag("show_secrets")? {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "values of secrets are never shown; leave show_secrets out to see names and digests",
        ));
    }
    let set = cloud.store.app_secrets(app).await?;
    let least = query.number("version", 0, i64::MAX)?.unwrap_or(0);
    if least > set.version {
        return Err(ApiError::invalid(format!(
            "version {least} does not exist: the app's secrets are at version {}",
            set.version
        )));
    }
    Ok(set)
}

async fn apply(
    cloud: &Cloud,
    access: &AppAccess,
    values: BTreeMap<SecretName, Option<String>>,
) -> Result<SecretSet, ApiError> {
    check_values(&values)?;
    let app = access.app.id;
    check_sum(&values, &cloud.store.sealed_secrets(app).await?.1)?;
    let changes = values
        .into_iter()
        .map(|(name, value)| {
            let change = match value {
                Some(value) => cloud.sealed(app, &name, &value),
                None => SecretChange::Unset,
            };
            (name, change)
        })
        .collect();
    let by = access.caller.by(cloud);
    Ok(cloud.store.change_secrets(app, changes, by).await?)
}

/// Errors name the secret and never its value.
fn check_values(values: &BTreeMap<SecretName, Option<String>>) -> Result<(), ApiError> {
    for (name, value) in values {
        let Some(value) = value else { continue };
        if value.len() > VALUE_MAX {
            return Err(ApiError::invalid(format!(
                "secret {name} has {} bytes; at most {VALUE_MAX} fit into an environment",
                value.len()
            )));
        }
        if value.contains('\0') {
            return Err(ApiError::invalid(format!(
                "secret {name} contains a zero byte, which no environment can hold; store it as base64 and use a file"
            )));
        }
    }
    Ok(())
}

/// Whether the secrets an app has, with the changes, are not too many and not too large together. `sealed` are those it
/// has; as they are kept, values are a few bytes longer.
fn check_sum(
    values: &BTreeMap<SecretName, Option<String>>,
    sealed: &[SealedSecret],
) -> Result<(), ApiError> {
    let kept = sealed
        .iter()
        .filter(|secret| !values.contains_key(&secret.name))
        .map(|secret| secret.sealed_value.len());
    let sizes: Vec<usize> = kept
        .chain(values.values().flatten().map(String::len))
        .collect();
    // What only unsets is never too much.
    if values.values().all(Option::is_none) {
        return Ok(());
    }
    if sizes.len() > SECRETS_MAX {
        return Err(ApiError::invalid(format!(
            "the app would have {} secrets; at most {SECRETS_MAX} are possible",
            sizes.len()
        )));
    }
    let sum: usize = sizes.iter().sum();
    if sum > VALUES_MAX {
        return Err(ApiError::invalid(format!(
            "the app's secrets would have {sum} bytes together; at most {VALUES_MAX} fit into an environment"
        )));
    }
    Ok(())
}

fn secret_name(text: &str, field: &str) -> Result<SecretName, ApiError> {
    text.parse()
        .map_err(|error| ApiError::invalid(format!("{field}: {error}")))
}

fn one(
    shown: AppSecrets,
    name: &str,
    access: &AppAccess,
) -> Result<Json<VersionedSecret>, ApiError> {
    let version = shown.version;
    let found = shown.secrets.into_iter().find(|secret| secret.name == name);
    let secret = found.ok_or_else(|| {
        ApiError::not_found(format!(
            "secret \"{name}\" is not set in app {}",
            access.app.name
        ))
    })?;
    Ok(Json(VersionedSecret { secret, version }))
}

async fn shown(cloud: &Cloud, app: AppId, set: SecretSet) -> Result<AppSecrets, ApiError> {
    let machines = cloud.store.machines_secrets(app).await?;
    let secrets = set
        .secrets
        .into_iter()
        .map(|secret| view(secret, &machines));
    let behind = machines
        .iter()
        .filter(|machine| machine.secrets_version < set.version);
    Ok(AppSecrets {
        secrets: secrets.collect(),
        version: set.version.unsigned_abs(),
        machines_behind: behind.count() as u64,
    })
}

fn view(secret: AppSecret, machines: &[MachineSecrets]) -> mayfly_wire::AppSecret {
    let having = machines
        .iter()
        .filter(|machine| machine.secrets_version >= secret.since_version)
        .count();
    let status = match having {
        0 => "Staged",
        all if all == machines.len() => "Deployed",
        _ => "Partial",
    };
    mayfly_wire::AppSecret {
        name: secret.name.to_string(),
        digest: secret.digest,
        created_at: secret.created_at.to_string(),
        updated_at: secret.updated_at.to_string(),
        status: status.to_owned(),
    }
}

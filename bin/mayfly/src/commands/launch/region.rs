use mayfly_wire::closest;
use serde_json::Value;

use super::Launch;
use crate::client::Api;
use crate::context::LocalConfig;
use crate::failure::Failure;

/// The codes of the cloud's regions, nearest first as the cloud lists them.
pub(crate) async fn codes(api: &Api) -> anyhow::Result<Vec<String>> {
    let answer = api.regions().await?;
    let listed = ["Regions", "regions"]
        .iter()
        .find_map(|key| answer.get(key)?.as_array());
    let usable = |region: &&Value| region.get("deprecated") != Some(&Value::from(true));
    let code = |region: &Value| {
        region
            .get("code")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Ok(listed
        .into_iter()
        .flatten()
        .filter(usable)
        .filter_map(code)
        .collect())
}

/// The region by flag, by the configuration that is taken over, or the cloud's first.
///
/// # Errors
/// The cloud has no such region.
pub(super) async fn choose(
    api: &Api,
    flags: &Launch,
    existing: Option<&LocalConfig>,
) -> anyhow::Result<String> {
    let codes = codes(api).await?;
    let configured = existing.and_then(|local| local.reading.config.primary_region.clone());
    match flags.region.clone() {
        Some(wanted) => known(&wanted, &codes),
        // A file from another cloud may name a region this one does not have.
        None => Ok(configured
            .filter(|code| codes.is_empty() || codes.contains(code))
            .or_else(|| codes.first().cloned())
            .unwrap_or_else(|| "iad".to_owned())),
    }
}

/// `wanted`, if the cloud has it.
pub(super) fn known(wanted: &str, codes: &[String]) -> anyhow::Result<String> {
    if codes.is_empty() || codes.iter().any(|code| code == wanted) {
        return Ok(wanted.to_owned());
    }
    let meant = closest(wanted, codes.iter().map(String::as_str))
        .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Err(Failure::new(format!("there is no region {wanted}{meant}"))
        .remedy(format!("Regions are {}.", codes.join(", ")))
        .into())
}

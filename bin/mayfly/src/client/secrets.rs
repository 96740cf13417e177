use std::collections::BTreeMap;

use mayfly_types::Secret;
use serde_json::{Map, Value, json};

use super::{Api, ApiError, encoded, list_in};

fn secrets_path(app: &str) -> String {
    format!("/v1/apps/{}/secrets", encoded(app))
}

/// Whether a cloud answers that it has no such part.
fn is_absent(error: &ApiError) -> bool {
    matches!(error.status(), Some(404 | 405 | 501))
}

impl Api {
    /// The app's secrets by name, with the digest of each; none where the cloud keeps no secrets.
    pub(crate) async fn secret_digests(
        &self,
        app: &str,
    ) -> Result<BTreeMap<String, String>, ApiError> {
        let path = secrets_path(app);
        let answer = match self.get(&path).send().await {
            Err(error) if is_absent(&error) => return Ok(BTreeMap::new()),
            answer => answer?,
        };
        let text = |secret: &Value, key: &str| {
            secret
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let secrets = list_in(answer, "secrets", &path)?;
        Ok(secrets
            .iter()
            .map(|secret| (text(secret, "name"), text(secret, "digest")))
            .collect())
    }

    /// Stages secrets for the app's next machines; `false` where the cloud keeps no secrets.
    pub(crate) async fn set_secrets(
        &self,
        app: &str,
        secrets: &[(String, Secret)],
    ) -> Result<bool, ApiError> {
        let values: Map<String, Value> = secrets
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.reveal())))
            .collect();
        match self
            .post(&secrets_path(app))
            .json(json!({ "values": values }))
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

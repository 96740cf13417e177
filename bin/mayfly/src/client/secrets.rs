use std::collections::BTreeMap;

use mayfly_wire::AppSecrets;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded};

impl Api {
    /// Names and digests of an app's secrets, and their version.
    pub(crate) async fn app_secrets(&self, app: &str) -> Result<AppSecrets, ApiError> {
        let path = path(app);
        read(self.get(&path).send().await?, &path)
    }

    /// Sets secrets, and unsets those without a value, in one step. Machines keep what they have.
    pub(crate) async fn change_secrets(
        &self,
        app: &str,
        values: BTreeMap<String, Option<String>>,
    ) -> Result<AppSecrets, ApiError> {
        let path = path(app);
        let body = json!({ "values": values });
        read(self.post(&path).json(body).send().await?, &path)
    }
}

fn path(app: &str) -> String {
    format!("/v1/apps/{}/secrets", encoded(app))
}

fn read(answer: Value, path: &str) -> Result<AppSecrets, ApiError> {
    serde_json::from_value(answer).map_err(|_| ApiError::Unexpected {
        call: path.to_owned(),
        what: "they are no secrets",
    })
}

use std::time::Duration;

use mayfly_wire::{CreateRelease, MoveApp, Release};
use serde_json::{Value, json};

use super::{Api, ApiError, encoded};

fn path(app: &str) -> String {
    format!("/v1/apps/{}/releases", encoded(app))
}

impl Api {
    /// An app's releases, newest first.
    pub(crate) async fn releases(&self, app: &str, limit: usize) -> Result<Vec<Release>, ApiError> {
        let path = format!("{}?limit={limit}", path(app));
        read(self.get(&path).send().await?, &path)
    }

    pub(crate) async fn release(&self, app: &str, version: i64) -> Result<Release, ApiError> {
        let path = format!("{}/{version}", path(app));
        read(self.get(&path).send().await?, &path)
    }

    /// Asks for a release; the cloud carries it out whoever listens. Images may have to be fetched first.
    pub(crate) async fn create_release(
        &self,
        app: &str,
        wanted: &CreateRelease,
    ) -> Result<Release, ApiError> {
        let path = path(app);
        let call = self.post(&path).json(json!(wanted));
        read(call.patience(Duration::from_secs(900)).send().await?, &path)
    }

    pub(crate) async fn roll_back(
        &self,
        app: &str,
        version: Option<i64>,
        keep_secrets: bool,
    ) -> Result<Release, ApiError> {
        let path = format!("{}/rollback", path(app));
        let mut body = json!({ "keep_secrets": keep_secrets });
        if let Some(version) = version {
            body["version"] = version.into();
        }
        read(self.post(&path).json(body).send().await?, &path)
    }

    /// Asks for a move to another organization.
    pub(crate) async fn move_app(&self, app: &str, wanted: &MoveApp) -> Result<Release, ApiError> {
        let path = format!("/v1/apps/{}/move", encoded(app));
        read(self.post(&path).json(json!(wanted)).send().await?, &path)
    }

    pub(crate) async fn cancel_release(
        &self,
        app: &str,
        version: i64,
    ) -> Result<Release, ApiError> {
        let path = format!("{}/{version}/cancel", path(app));
        read(self.post(&path).json(json!({})).send().await?, &path)
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: Value, path: &str) -> Result<T, ApiError> {
    serde_json::from_value(answer).map_err(|_| ApiError::Unexpected {
        call: path.to_owned(),
        what: "it is no release",
    })
}

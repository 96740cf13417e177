use mayfly_wire::{AppVolume, CreateVolume, ExtendedVolume, UpdateVolume};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in};

impl Api {
    /// The volumes of an app that are not gone; destroyed ones may be among them.
    pub(crate) async fn volumes(&self, app: &str) -> Result<Vec<AppVolume>, ApiError> {
        let path = path(app);
        let answer = self.get(&path).send().await?;
        let volumes = list_in(answer, "volumes", &path)?.into_iter();
        volumes.map(|volume| read(volume, &path)).collect()
    }

    /// The app of a volume, among all that the caller sees; `None` if there is no such volume.
    pub(crate) async fn app_of_volume(&self, id: &str) -> Result<Option<String>, ApiError> {
        for org in self.orgs().await? {
            let mut cursor = String::new();
            loop {
                let path = format!(
                    "/v1/orgs/{}/volumes?cursor={}",
                    encoded(org.slug()),
                    encoded(&cursor)
                );
                let mut answer = self.get(&path).send().await?;
                let next = answer["next_cursor"].take();
                for volume in list_in(answer, "volumes", &path)? {
                    let volume: AppVolume = read(volume, &path)?;
                    if volume.id == id {
                        return Ok(volume.app_name);
                    }
                }
                match next.as_str() {
                    None | Some("") => break,
                    Some(next) => cursor = next.to_owned(),
                }
            }
        }
        Ok(None)
    }

    pub(crate) async fn volume(&self, app: &str, id: &str) -> Result<AppVolume, ApiError> {
        let path = path_of(app, id);
        read(self.get(&path).send().await?, &path)
    }

    pub(crate) async fn create_volume(
        &self,
        app: &str,
        wanted: &CreateVolume,
    ) -> Result<AppVolume, ApiError> {
        let path = path(app);
        read(self.post(&path).json(json!(wanted)).send().await?, &path)
    }

    pub(crate) async fn update_volume(
        &self,
        app: &str,
        id: &str,
        update: &UpdateVolume,
    ) -> Result<AppVolume, ApiError> {
        let path = path_of(app, id);
        read(self.put(&path).json(json!(update)).send().await?, &path)
    }

    pub(crate) async fn extend_volume(
        &self,
        app: &str,
        id: &str,
        size_gb: i64,
    ) -> Result<ExtendedVolume, ApiError> {
        let path = format!("{}/extend", path_of(app, id));
        let body = json!({ "size_gb": size_gb });
        read(self.put(&path).json(body).send().await?, &path)
    }

    pub(crate) async fn destroy_volume(&self, app: &str, id: &str) -> Result<AppVolume, ApiError> {
        let path = path_of(app, id);
        read(self.delete(&path).send().await?, &path)
    }

    pub(crate) async fn restore_volume(&self, app: &str, id: &str) -> Result<AppVolume, ApiError> {
        let path = format!("{}/restore", path_of(app, id));
        read(self.post(&path).send().await?, &path)
    }

    pub(crate) async fn volume_snapshots(
        &self,
        app: &str,
        id: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let path = format!("{}/snapshots", path_of(app, id));
        list_in(self.get(&path).send().await?, "snapshots", &path)
    }

    pub(crate) async fn create_volume_snapshot(&self, app: &str, id: &str) -> Result<(), ApiError> {
        let path = format!("{}/snapshots", path_of(app, id));
        self.post(&path).send().await.map(drop)
    }
}

fn path(app: &str) -> String {
    format!("/v1/apps/{}/volumes", encoded(app))
}

fn path_of(app: &str, id: &str) -> String {
    format!("{}/{}", path(app), encoded(id))
}

fn read<T: DeserializeOwned>(answer: Value, path: &str) -> Result<T, ApiError> {
    serde_json::from_value(answer).map_err(|_| ApiError::Unexpected {
        call: path.to_owned(),
        what: "it is no volume",
    })
}

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use mayfly_net::{Body, Method, header};
use serde_json::{Value, json};

use super::{Api, ApiError, list_in, query};

impl Api {
    pub(crate) async fn images(&self) -> Result<Vec<Value>, ApiError> {
        list_in(self.get("/v1/images").send().await?, "images", "/v1/images")
    }

    pub(crate) async fn image(&self, image: &str) -> Result<Value, ApiError> {
        let path = format!(
            "/v1/images/show{}",
            query(&[("image", Some(image.to_owned()))])
        );
        self.get(&path).send().await
    }

    /// Sends an archive as it is read; returns the images found in it.
    pub(crate) async fn import_image(
        &self,
        name: Option<&str>,
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<Vec<Value>, ApiError> {
        let path = format!("/v1/images{}", query(&[("name", name.map(str::to_owned))]));
        let request = self
            .request(Method::POST, &path)
            .header(header::CONTENT_TYPE, "application/x-tar")
            // The head of the answer comes after the whole archive went up and was unpacked.
            .head_timeout(None)
            .body(Body::stream(archive));
        let answer = self.stream(request).await?;
        let answer: Value = answer
            .json(super::ANSWER_BYTES_MAX)
            .await
            .map_err(|error| ApiError::transport(&self.endpoints.machines, error))?;
        list_in(answer, "images", &path)
    }

    /// Brings an image onto the host; returns when it is there.
    pub(crate) async fn pull_image(
        &self,
        image: &str,
        login: Option<(&str, &str)>,
    ) -> Result<Value, ApiError> {
        let mut body = json!({ "image": image });
        if let Some((username, password)) = login {
            body["username"] = Value::from(username);
            body["password"] = Value::from(password);
        }
        let call = self.post("/v1/images/pull").json(body);
        call.patience(Duration::from_secs(1800)).send().await
    }

    /// Where the cloud's registry is.
    pub(crate) async fn registry(&self) -> Result<Value, ApiError> {
        self.get("/v1/registry").send().await
    }

    /// The pulls under way.
    pub(crate) async fn pulls(&self) -> Result<Vec<Value>, ApiError> {
        list_in(
            self.get("/v1/images/pulls").send().await?,
            "pulls",
            "/v1/images/pulls",
        )
    }

    pub(crate) async fn prune_images(&self) -> Result<Value, ApiError> {
        self.post("/v1/images/prune").send().await
    }
}

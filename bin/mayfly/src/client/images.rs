use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use mayfly_net::{Body, Method, header};
use serde_json::{Value, json};

use super::{Api, ApiError, query};

impl Api {
    pub(crate) async fn images(&self) -> Result<Vec<Value>, ApiError> {
        let mut answer = self.get("/v1/images").send().await?;
        list_in(&mut answer, "/v1/images")
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
        let mut answer: Value = answer
            .json(super::ANSWER_BYTES_MAX)
            .await
            .map_err(|error| ApiError::transport(&self.endpoints.machines, error))?;
        list_in(&mut answer, "/v1/images")
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

    /// The pulls under way.
    pub(crate) async fn pulls(&self) -> Result<Vec<Value>, ApiError> {
        let mut answer = self.get("/v1/images/pulls").send().await?;
        match answer.take() {
            Value::Array(pulls) => Ok(pulls),
            Value::Object(mut fields) => match fields.remove("pulls") {
                Some(Value::Array(pulls)) => Ok(pulls),
                _ => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        }
    }

    pub(crate) async fn prune_images(&self) -> Result<Value, ApiError> {
        self.post("/v1/images/prune").send().await
    }
}

fn list_in(answer: &mut Value, call: &str) -> Result<Vec<Value>, ApiError> {
    match answer.get_mut("images").map(Value::take) {
        Some(Value::Array(images)) => Ok(images),
        _ => Err(ApiError::Unexpected {
            call: call.to_owned(),
            what: "there is no list of images",
        }),
    }
}

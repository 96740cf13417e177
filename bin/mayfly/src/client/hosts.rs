use mayfly_wire::HostDrain;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded};

impl Api {
    pub(crate) async fn hosts(&self) -> Result<Value, ApiError> {
        self.get("/v1/hosts").send().await
    }

    pub(crate) async fn host(&self, id: &str) -> Result<Value, ApiError> {
        self.get(&path(id)).send().await
    }

    pub(crate) async fn host_token(&self, ttl: Option<&str>) -> Result<Value, ApiError> {
        let body = match ttl {
            Some(ttl) => json!({ "ttl": ttl }),
            None => json!({}),
        };
        self.post("/v1/hosts/tokens").json(body).send().await
    }

    pub(crate) async fn cordon_host(&self, id: &str) -> Result<Value, ApiError> {
        self.post(&format!("{}/cordon", path(id))).send().await
    }

    pub(crate) async fn begin_host_drain(&self, id: &str) -> Result<HostDrain, ApiError> {
        let path = format!("{}/drain", path(id));
        read(self.post(&path).send().await?, &path)
    }

    pub(crate) async fn host_drain(&self, id: &str) -> Result<HostDrain, ApiError> {
        let path = format!("{}/drain", path(id));
        read(self.get(&path).send().await?, &path)
    }

    /// Also of a host that was only cordoned. The host.
    pub(crate) async fn end_host_drain(&self, id: &str) -> Result<Value, ApiError> {
        self.delete(&format!("{}/drain", path(id))).send().await
    }

    pub(crate) async fn remove_host(&self, id: &str, force: bool) -> Result<(), ApiError> {
        let call = self.delete(&format!("{}?force={force}", path(id)));
        call.send().await.map(drop)
    }
}

fn path(id: &str) -> String {
    format!("/v1/hosts/{}", encoded(id))
}

fn read(answer: Value, path: &str) -> Result<HostDrain, ApiError> {
    serde_json::from_value(answer).map_err(|_| ApiError::Unexpected {
        call: path.to_owned(),
        what: "it does not say how far the host is drained",
    })
}

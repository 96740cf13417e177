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

    /// `what` is `cordon`, `uncordon` or `drain`.
    pub(crate) async fn host_action(&self, id: &str, what: &str) -> Result<Value, ApiError> {
        self.post(&format!("{}/{what}", path(id))).send().await
    }

    pub(crate) async fn remove_host(&self, id: &str, force: bool) -> Result<(), ApiError> {
        let call = self.delete(&format!("{}?force={force}", path(id)));
        call.send().await.map(drop)
    }
}

fn path(id: &str) -> String {
    format!("/v1/hosts/{}", encoded(id))
}

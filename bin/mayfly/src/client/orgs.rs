use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in};

/// An organization as the API describes it.
#[derive(Clone, Debug)]
pub(crate) struct Org(Value);

impl Org {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn slug(&self) -> &str {
        self.text("slug")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    /// `PERSONAL` or `SHARED`.
    pub(crate) fn kind(&self) -> &str {
        self.text("type")
    }

    pub(crate) fn role(&self) -> &str {
        self.text("viewer_role")
    }

    /// Name, e-mail and role of each member, if the cloud lists them.
    pub(crate) fn members(&self) -> Vec<[&str; 3]> {
        let members = self.0.get("members").and_then(Value::as_array);
        members
            .into_iter()
            .flatten()
            .map(|member| {
                ["name", "email", "role"]
                    .map(|key| member.get(key).and_then(Value::as_str).unwrap_or_default())
            })
            .collect()
    }

    pub(crate) fn document(&self) -> &Value {
        &self.0
    }
}

impl Api {
    pub(crate) async fn orgs(&self) -> Result<Vec<Org>, ApiError> {
        let answer = self.get("/v1/orgs").send().await?;
        let orgs = list_in(answer, "organizations", "/v1/orgs")?;
        Ok(orgs.into_iter().map(Org).collect())
    }

    pub(crate) async fn org(&self, slug: &str) -> Result<Org, ApiError> {
        let mut answer = self
            .get(&format!("/v1/orgs/{}", encoded(slug)))
            .send()
            .await?;
        let inner = answer.get_mut("organization").map(Value::take);
        Ok(Org(inner.unwrap_or(answer)))
    }

    pub(crate) async fn create_org(&self, name: &str) -> Result<Org, ApiError> {
        let mut answer = self
            .post("/v1/orgs")
            .json(json!({ "name": name }))
            .send()
            .await?;
        let inner = answer.get_mut("organization").map(Value::take);
        Ok(Org(inner.unwrap_or(answer)))
    }
}

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

/// Who may replay requests to an organization's apps.
#[derive(Clone, Debug)]
pub(crate) struct ReplayGrants(Value);

impl ReplayGrants {
    /// Slugs of other organizations.
    pub(crate) fn sources(&self) -> Vec<&str> {
        let sources = self.0.get("replay_sources").and_then(Value::as_array);
        let sources = sources.into_iter().flatten();
        sources.filter_map(Value::as_str).collect()
    }

    pub(crate) fn crosses_networks(&self) -> bool {
        let word = self.0.get("cross_network_replays");
        word.and_then(Value::as_bool).unwrap_or_default()
    }
}

impl Api {
    pub(crate) async fn replay_grants(&self, org: &str) -> Result<ReplayGrants, ApiError> {
        let path = format!("/v1/orgs/{}/replay_sources", encoded(org));
        Ok(ReplayGrants(self.get(&path).send().await?))
    }

    pub(crate) async fn add_replay_source(&self, org: &str, source: &str) -> Result<(), ApiError> {
        let path = replay_source(org, source);
        self.put(&path).send().await.map(drop)
    }

    pub(crate) async fn remove_replay_source(
        &self,
        org: &str,
        source: &str,
    ) -> Result<(), ApiError> {
        self.delete(&replay_source(org, source))
            .send()
            .await
            .map(drop)
    }

    /// An organization's budget and what is used of it, as the cloud shows them.
    pub(crate) async fn budget(&self, org: &str) -> Result<Value, ApiError> {
        let path = format!("/v1/orgs/{}/budget", encoded(org));
        self.get(&path).send().await
    }

    /// Sets all of a budget; what it leaves out, or names as `null`, has no limit.
    pub(crate) async fn set_budget(&self, org: &str, budget: Value) -> Result<Value, ApiError> {
        let path = format!("/v1/orgs/{}/budget", encoded(org));
        self.put(&path).json(budget).send().await
    }

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

fn replay_source(org: &str, source: &str) -> String {
    format!(
        "/v1/orgs/{}/replay_sources/{}",
        encoded(org),
        encoded(source)
    )
}

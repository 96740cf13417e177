use mayfly_types::Timestamp;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in, query};

/// An app as the API describes it.
#[derive(Clone, Debug)]
pub(crate) struct App(Value);

/// What a new app is asked to be.
#[derive(Clone, Debug)]
pub(crate) struct CreateApp {
    /// `None` lets the cloud choose one.
    pub(crate) name: Option<String>,
    pub(crate) org: String,
    pub(crate) network: Option<String>,
    /// How long it lives, as `168h`; for good without.
    pub(crate) ttl: Option<String>,
}

impl App {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn status(&self) -> &str {
        self.text("status")
    }

    /// The network the app is on, unless it is its organization's own.
    pub(crate) fn network(&self) -> Option<&str> {
        Some(self.text("network")).filter(|name| !matches!(*name, "" | "default"))
    }

    pub(crate) fn org_slug(&self) -> &str {
        self.org("slug")
    }

    pub(crate) fn org(&self, key: &str) -> &str {
        let org = self.0.get("organization");
        org.and_then(|org| org.get(key)?.as_str())
            .unwrap_or_default()
    }

    /// Whether the app has had a release or machines to run: upstream's reading of the status.
    pub(crate) fn is_deployed(&self) -> bool {
        matches!(self.status(), "deployed" | "suspended")
    }

    /// The name the app answers to, if the cloud says so.
    pub(crate) fn hostname(&self) -> Option<&str> {
        ["hostname", "cname_target"]
            .map(|key| self.text(key))
            .into_iter()
            .find(|name| !name.is_empty())
    }

    /// Where a browser finds the app; an address given by the cloud wins over one made from the hostname.
    pub(crate) fn url(&self) -> Option<String> {
        match self.text("app_url") {
            "" => self.hostname().map(|name| format!("https://{name}/")),
            url => Some(url.to_owned()),
        }
    }

    /// When the current release was made, if the cloud says so.
    pub(crate) fn latest_deploy(&self) -> Option<Timestamp> {
        let at = self.0.pointer("/current_release/created_at")?;
        at.as_str()?.parse().ok()
    }

    /// When the app goes by itself, if it does.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.text("expires_at").parse().ok()
    }

    pub(crate) fn document(&self) -> &Value {
        &self.0
    }
}

impl Api {
    pub(crate) async fn app(&self, name: &str) -> Result<App, ApiError> {
        let path = format!("/v1/apps/{}", encoded(name));
        let answer = self.get(&path).send().await;
        answer.map(App).map_err(|error| error.about_app(name))
    }

    /// The apps of one organization, or of all the user can see, by name.
    pub(crate) async fn apps(&self, org: Option<&str>) -> Result<Vec<App>, ApiError> {
        let path = format!("/v1/apps{}", query(&[("org_slug", org.map(str::to_owned))]));
        let listed = list_in(self.get(&path).send().await?, "apps", &path)?;
        let mut apps: Vec<App> = listed.into_iter().map(App).collect();
        apps.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(apps)
    }

    pub(crate) async fn create_app(&self, request: &CreateApp) -> Result<App, ApiError> {
        let mut body = json!({ "org_slug": request.org });
        for (key, value) in [
            ("app_name", &request.name),
            ("network", &request.network),
            ("ttl", &request.ttl),
        ] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        let created = self
            .post("/v1/apps?wait=true")
            .json(body)
            .idempotent()
            .send()
            .await?;
        Ok(App(created))
    }

    /// Lets an app live for so long from now on, as `168h`; for good without.
    pub(crate) async fn set_app_ttl(&self, name: &str, ttl: Option<&str>) -> Result<App, ApiError> {
        let path = format!("/v1/apps/{}/ttl", encoded(name));
        let body = ttl.map_or_else(|| json!({}), |ttl| json!({ "ttl": ttl }));
        let answer = self.post(&path).json(body).send().await;
        answer.map(App).map_err(|error| error.about_app(name))
    }

    pub(crate) async fn destroy_app(&self, name: &str) -> Result<(), ApiError> {
        let path = format!("/v1/apps/{}?force=true", encoded(name));
        let answer = self.delete(&path).send().await;
        answer.map(drop).map_err(|error| error.about_app(name))
    }
}

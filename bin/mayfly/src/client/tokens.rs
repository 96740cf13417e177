use mayfly_types::Secret;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in, query};

/// A token to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) profile: &'a str,
    pub(crate) app: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) expiry: &'a str,
}

/// What is known of a token beside its text.
#[derive(Clone, Debug)]
pub(crate) struct ListedToken(Value);

impl ListedToken {
    /// What a table shows of it: id, name, who made it, when it ends and when it was revoked.
    pub(crate) fn cells(&self) -> [&str; 5] {
        ["/id", "/name", "/user/email", "/expires_at", "/revoked_at"].map(|path| {
            let value = self.0.pointer(path).and_then(Value::as_str);
            value.unwrap_or_default()
        })
    }

    pub(crate) fn document(&self) -> &Value {
        &self.0
    }
}

impl Api {
    /// Makes a token; the answer is the only place its text ever is.
    pub(crate) async fn create_token(
        &self,
        org: &str,
        new: &NewToken<'_>,
    ) -> Result<Secret, ApiError> {
        let path = format!("/v1/orgs/{}/tokens", encoded(org));
        let body = json!({
            "profile": new.profile, "app": new.app, "name": new.name, "expiry": new.expiry,
        });
        let made = self.post(&path).json(body).send().await?;
        let text = made.get("token").and_then(Value::as_str);
        Ok(Secret::new(text.unwrap_or_default()))
    }

    /// Another token that opens all that this one does.
    pub(crate) async fn create_personal_token(
        &self,
        name: &str,
        expiry: &str,
    ) -> Result<Secret, ApiError> {
        let body = json!({ "name": name, "expiry": expiry });
        let made = self.post("/v1/tokens").json(body).send().await?;
        let text = made.get("token").and_then(Value::as_str);
        Ok(Secret::new(text.unwrap_or_default()))
    }

    /// The user's own tokens.
    pub(crate) async fn personal_tokens(&self) -> Result<Vec<ListedToken>, ApiError> {
        let path = "/v1/tokens";
        let answer = self.get(path).send().await?;
        let tokens = list_in(answer, "tokens", path)?;
        Ok(tokens.into_iter().map(ListedToken).collect())
    }

    /// The tokens of an organization, or of one of its apps.
    pub(crate) async fn tokens(
        &self,
        org: &str,
        app: Option<&str>,
    ) -> Result<Vec<ListedToken>, ApiError> {
        let only = query(&[("app", app.map(str::to_owned))]);
        let path = format!("/v1/orgs/{}/tokens{only}", encoded(org));
        let answer = self.get(&path).send().await?;
        let tokens = list_in(answer, "tokens", &path)?;
        Ok(tokens.into_iter().map(ListedToken).collect())
    }

    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), ApiError> {
        let path = format!("/v1/tokens/{}", encoded(id));
        self.delete(&path).send().await.map(drop)
    }
}

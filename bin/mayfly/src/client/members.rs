use serde_json::{Value, json};

use super::{Api, ApiError, encoded, list_in, query};

/// Somebody who may become a member; with the code, if it was just made.
#[derive(Clone, Debug)]
pub(crate) struct Invitation(Value);

impl Invitation {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn email(&self) -> &str {
        self.text("email")
    }

    pub(crate) fn role(&self) -> &str {
        self.text("role")
    }

    pub(crate) fn code(&self) -> &str {
        self.text("code")
    }

    pub(crate) fn expires_at(&self) -> &str {
        self.text("expires_at")
    }

    pub(crate) fn document(&self) -> &Value {
        &self.0
    }
}

/// Which changes to look back on.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    pub(crate) app: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) before: Option<u64>,
    pub(crate) limit: usize,
    pub(crate) all: bool,
}

impl Api {
    pub(crate) async fn invite(
        &self,
        org: &str,
        email: &str,
        role: &str,
    ) -> Result<Invitation, ApiError> {
        let path = format!("/v1/orgs/{}/invitations", encoded(org));
        let body = json!({ "email": email, "role": role });
        Ok(Invitation(self.post(&path).json(body).send().await?))
    }

    pub(crate) async fn invitations(&self, org: &str) -> Result<Vec<Invitation>, ApiError> {
        let path = format!("/v1/orgs/{}/invitations", encoded(org));
        let answer = self.get(&path).send().await?;
        let invitations = list_in(answer, "invitations", &path)?;
        Ok(invitations.into_iter().map(Invitation).collect())
    }

    pub(crate) async fn remove_invitation(&self, org: &str, email: &str) -> Result<(), ApiError> {
        let (org, email) = (encoded(org), encoded(email));
        let path = format!("/v1/orgs/{org}/invitations/{email}");
        self.delete(&path).send().await.map(drop)
    }

    pub(crate) async fn remove_member(&self, org: &str, email: &str) -> Result<(), ApiError> {
        self.delete(&member(org, email)).send().await.map(drop)
    }

    pub(crate) async fn set_role(
        &self,
        org: &str,
        email: &str,
        role: &str,
    ) -> Result<(), ApiError> {
        let call = self.put(&member(org, email));
        call.json(json!({ "role": role })).send().await.map(drop)
    }

    pub(crate) async fn delete_org(&self, org: &str) -> Result<(), ApiError> {
        let path = format!("/v1/orgs/{}", encoded(org));
        self.delete(&path).send().await.map(drop)
    }

    /// Accepts an invitation as the user of this client's token, or, without one, as somebody of this name.
    pub(crate) async fn accept_invitation(
        &self,
        code: &str,
        name: Option<&str>,
    ) -> Result<Value, ApiError> {
        let body = json!({ "code": code, "name": name });
        self.post("/v1/invitations/accept").json(body).send().await
    }

    /// What was changed in an organization, newest first, and where to go on.
    pub(crate) async fn audit(
        &self,
        org: &str,
        filter: &AuditFilter,
    ) -> Result<(Vec<Value>, Option<u64>), ApiError> {
        let pairs = [
            ("app", filter.app.clone()),
            ("actor", filter.actor.clone()),
            ("kind", filter.kind.clone()),
            ("since", filter.since.clone()),
            ("before", filter.before.map(|seq| seq.to_string())),
            ("limit", Some(filter.limit.to_string())),
            ("all", filter.all.then(|| "true".to_owned())),
        ];
        let path = format!("/v1/orgs/{}/audit{}", encoded(org), query(&pairs));
        let answer = self.get(&path).send().await?;
        let next = answer.get("next_before").and_then(Value::as_u64);
        Ok((list_in(answer, "entries", &path)?, next))
    }
}

fn member(org: &str, email: &str) -> String {
    format!("/v1/orgs/{}/members/{}", encoded(org), encoded(email))
}

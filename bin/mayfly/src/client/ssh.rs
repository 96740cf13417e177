use serde_json::{Value, json};

use super::{Api, ApiError, encoded, query};

/// What a certificate shall say.
pub(crate) struct CertificateRequest<'a> {
    pub(crate) public_key: &'a str,
    pub(crate) hours: u32,
    pub(crate) users: &'a [String],
    pub(crate) apps: &'a [String],
}

impl Api {
    /// The line of a `-cert.pub` file.
    pub(crate) async fn issue_certificate(
        &self,
        org: &str,
        request: &CertificateRequest<'_>,
    ) -> Result<String, ApiError> {
        let path = format!("/v1/orgs/{}/ssh/certificates", encoded(org));
        let body = json!({
            "public_key": request.public_key,
            "hours": request.hours,
            "users": request.users,
            "apps": request.apps,
        });
        let answer = self.post(&path).json(body).send().await?;
        let certificate = answer.get("certificate").and_then(Value::as_str);
        certificate.map(str::to_owned).ok_or(ApiError::Unexpected {
            call: path,
            what: "there is no certificate in it",
        })
    }

    /// A page of the log of certificates and sessions.
    pub(crate) async fn ssh_log(&self, org: &str, after: u64) -> Result<Value, ApiError> {
        let after = query(&[("after", Some(after.to_string()))]);
        self.get(&format!("/v1/orgs/{}/ssh/log{after}", encoded(org)))
            .send()
            .await
    }
}

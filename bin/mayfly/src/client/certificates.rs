use mayfly_wire::{CertificateDetail, CertificateSummary};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded, query};

/// Names asked for at once.
const PAGE: &str = "500";

/// An answer as a program reads it, and as we do.
pub(crate) struct Certificate {
    pub(crate) document: Value,
    pub(crate) detail: CertificateDetail,
}

fn path(app: &str, rest: &str) -> String {
    format!("/v1/apps/{}/certificates{rest}", encoded(app))
}

fn read<T: DeserializeOwned>(document: &Value, call: &str) -> Result<T, ApiError> {
    T::deserialize(document).map_err(|_| ApiError::Unexpected {
        call: call.to_owned(),
        what: "it does not describe a certificate",
    })
}

fn certificate(document: Value, call: &str) -> Result<Certificate, ApiError> {
    Ok(Certificate {
        detail: read(&document, call)?,
        document,
    })
}

impl Api {
    /// All custom names of an app, by name.
    pub(crate) async fn certificates(
        &self,
        app: &str,
    ) -> Result<Vec<(Value, CertificateSummary)>, ApiError> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let pairs = [("limit", Some(PAGE.to_owned())), ("cursor", cursor)];
            let call = path(app, &query(&pairs));
            let answer = self.get(&call).send().await;
            let page = answer.map_err(|error| error.about_app(app))?;
            let listed = page["certificates"].as_array().cloned().unwrap_or_default();
            for document in listed {
                let summary = read(&document, &call)?;
                all.push((document, summary));
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn add_certificate(
        &self,
        app: &str,
        hostname: &str,
    ) -> Result<Certificate, ApiError> {
        let call = path(app, "/acme");
        let body = json!({ "hostname": hostname });
        let answer = self.post(&call).json(body).send().await;
        certificate(answer.map_err(|error| error.about_app(app))?, &call)
    }

    pub(crate) async fn import_certificate(
        &self,
        app: &str,
        hostname: &str,
        fullchain: &str,
        private_key: &str,
    ) -> Result<Certificate, ApiError> {
        let call = path(app, "/custom");
        let body = json!({
            "hostname": hostname,
            "fullchain": fullchain,
            "private_key": private_key,
        });
        let answer = self.post(&call).json(body).send().await;
        certificate(answer.map_err(|error| error.about_app(app))?, &call)
    }

    pub(crate) async fn certificate(
        &self,
        app: &str,
        hostname: &str,
    ) -> Result<Certificate, ApiError> {
        let call = path(app, &format!("/{}", encoded(hostname)));
        certificate(self.get(&call).send().await?, &call)
    }

    /// Has DNS asked now.
    pub(crate) async fn check_certificate(
        &self,
        app: &str,
        hostname: &str,
    ) -> Result<Certificate, ApiError> {
        let call = path(app, &format!("/{}/check", encoded(hostname)));
        certificate(self.post(&call).send().await?, &call)
    }

    /// `part` is empty for the name with everything, or `/acme`, or `/custom`.
    pub(crate) async fn remove_certificate(
        &self,
        app: &str,
        hostname: &str,
        part: &str,
    ) -> Result<(), ApiError> {
        let call = path(app, &format!("/{}{part}", encoded(hostname)));
        self.delete(&call).send().await.map(drop)
    }

    /// The root of the cloud's own authority, in PEM form.
    pub(crate) async fn root_certificate(&self) -> Result<String, ApiError> {
        let path = "/v1/authority/root.pem";
        let request = self.request(mayfly_net::Method::GET, path);
        let answer = self.stream(request).await?;
        let bytes = answer
            .bytes(64 << 10)
            .await
            .map_err(|error| ApiError::transport(path, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

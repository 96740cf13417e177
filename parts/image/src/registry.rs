//! A client for the pull side of the OCI distribution protocol, which is also Docker's registry protocol, version 2.
//!
//! Our own over `mayfly-net` rather than the `oci-client` crate: that one brings reqwest, chrono, regex and a second
//! HTTP configuration, and neither resumes a broken blob nor tells what may be retried.

mod challenge;
mod error;
mod transfer;

use std::net::IpAddr;
use std::time::Duration;

use mayfly_content::digest_of;
use mayfly_host_api::RegistryLogin;
use mayfly_net::{HttpClient, HttpError, Request, Response, StatusCode, header};
use mayfly_types::{Digest, ErrorKind, ImageRef, Secret};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::debug;

use crate::StoreConfig;
use crate::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCUMENT_BYTES_MAX, Descriptor, Document, InvalidManifest,
    Manifest, OCI_INDEX, OCI_MANIFEST,
};
use challenge::{Challenge, encoded};
pub use error::RegistryError;
pub(crate) use transfer::Transfer;

/// An image's documents as a registry has them.
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) bytes: Vec<u8>,
}

/// One repository of one registry, with whatever it takes to be let in.
pub(crate) struct Repository<'a> {
    client: &'a HttpClient,
    config: &'a StoreConfig,
    registry: String,
    base: String,
    repository: String,
    login: Option<&'a RegistryLogin>,
    /// The `authorization` that worked last.
    authorization: Mutex<Option<Secret>>,
}

/// A registry may ask us to wait; longer than this, trying again is the caller's business.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
/// Tries to find a registry whose name leads nowhere.
const UNRESOLVED_MAX: u32 = 2;
const INDEX_DEPTH_MAX: usize = 4;
const ACCEPT: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

impl<'a> Repository<'a> {
    pub(crate) fn of(
        image: &ImageRef,
        login: Option<&'a RegistryLogin>,
        client: &'a HttpClient,
        config: &'a StoreConfig,
    ) -> Self {
        Self {
            client,
            config,
            registry: image.registry().to_owned(),
            base: base_url(image.registry(), config),
            repository: image.repository().to_owned(),
            login: login.or_else(|| config.logins.get(image.registry())),
            authorization: Mutex::new(None),
        }
    }

    /// The manifest for our platform of a tag or digest.
    pub(crate) async fn manifest(&self, image: &ImageRef) -> Result<Fetched, RegistryError> {
        let mut wanted = image.digest();
        let mut size = None;
        for _ in 0..INDEX_DEPTH_MAX {
            let reference = match wanted {
                Some(digest) => digest.to_string(),
                None => image.tag().unwrap_or("latest").to_owned(),
            };
            let what = format!("manifest `{}:{reference}`", self.repository);
            let path = format!("manifests/{reference}");
            let bytes = self.document(&path, &what, wanted, size).await?;
            let unusable = |source| RegistryError::Document {
                registry: self.registry.clone(),
                what: what.clone(),
                source,
            };
            match Document::parse(&bytes).map_err(unusable)? {
                Document::Manifest(manifest) => {
                    return Ok(Fetched {
                        digest: digest_of(&bytes),
                        manifest,
                        bytes,
                    });
                }
                Document::Index(index) => {
                    let chosen = index
                        .for_platform(&self.config.architecture)
                        .map_err(unusable)?;
                    (wanted, size) = (Some(chosen.digest), Some(chosen.size));
                }
            }
        }
        Err(RegistryError::Document {
            registry: self.registry.clone(),
            what: format!("index of `{}`", self.repository),
            source: InvalidManifest::Unknown,
        })
    }

    /// A small blob as a whole.
    pub(crate) async fn small_blob(&self, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let what = format!("configuration {}", blob.digest);
        let path = format!("blobs/{}", blob.digest);
        self.document(&path, &what, Some(blob.digest), Some(blob.size))
            .await
    }

    /// The manifest or index of a tag or digest as it is.
    pub(crate) async fn raw_manifest(&self, image: &ImageRef) -> Result<Vec<u8>, RegistryError> {
        let reference = match image.digest() {
            Some(digest) => digest.to_string(),
            None => image.tag().unwrap_or("latest").to_owned(),
        };
        let what = format!("manifest `{}:{reference}`", self.repository);
        let path = format!("manifests/{reference}");
        self.document(&path, &what, image.digest(), None).await
    }

    /// What it has under this name is nothing that an image is made of.
    pub(crate) fn unusable(&self, image: &ImageRef) -> RegistryError {
        RegistryError::Document {
            registry: self.registry.clone(),
            what: format!("manifest `{image}`"),
            source: InvalidManifest::Unknown,
        }
    }

    async fn document(
        &self,
        path: &str,
        what: &str,
        digest: Option<Digest>,
        size: Option<u64>,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut tries = 0;
        loop {
            let result = async {
                let response = self.get(path, what, 0).await?;
                response
                    .bytes(DOCUMENT_BYTES_MAX)
                    .await
                    .map_err(self.failed(what))
            };
            let error = match result.await {
                Ok(bytes) => {
                    self.check(what, &bytes, digest, size)?;
                    return Ok(bytes.into());
                }
                Err(error) => error,
            };
            tries += 1;
            self.pause(what, tries, error).await?;
        }
    }

    fn check(
        &self,
        what: &str,
        bytes: &[u8],
        digest: Option<Digest>,
        size: Option<u64>,
    ) -> Result<(), RegistryError> {
        let found = bytes.len() as u64;
        if let Some(stated) = size
            && stated != found
        {
            return Err(RegistryError::Size {
                registry: self.registry.clone(),
                what: what.to_owned(),
                stated,
                found,
            });
        }
        let found = digest_of(bytes);
        if digest.is_some_and(|digest| digest != found) {
            return Err(RegistryError::Digest {
                registry: self.registry.clone(),
                what: what.to_owned(),
                found,
            });
        }
        Ok(())
    }

    /// Waits before the next try, or gives the error back if there shall be none.
    async fn pause(
        &self,
        what: &str,
        tries: u32,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        if error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        // A name with a slip in it stays unknown, and somebody waits for the answer.
        let unresolved = matches!(&error, RegistryError::Exchange { source, .. }
            if matches!(source, HttpError::Resolve { .. }));
        if unresolved && tries >= UNRESOLVED_MAX {
            return Err(error);
        }
        if tries >= self.config.attempts_max {
            return Err(RegistryError::GaveUp {
                registry: self.registry.clone(),
                what: what.to_owned(),
                tries,
                source: Box::new(error),
            });
        }
        let pause = self.config.backoff.pause(tries - 1);
        let asked = error.retry_after().unwrap_or_default();
        let pause = pause.max(asked.min(RETRY_AFTER_MAX));
        debug!(registry = self.registry, what, tries, ?pause, error = %mayfly_runtime::report(&error), "transfer broke; trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Asks for a path below the repository, from byte `from` on, answering one request for a login.
    async fn get(&self, path: &str, what: &str, from: u64) -> Result<Response, RegistryError> {
        let url = format!("{}/v2/{}/{path}", self.base, self.repository);
        let mut asked_again = false;
        loop {
            let mut request = self
                .client
                .get(&url)
                .header(header::ACCEPT, ACCEPT.join(", "))
                .follow_redirects(REDIRECTS_MAX);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(authorization) = &*self.authorization.lock().await {
                request = request.authorization(authorization.reveal());
            }
            let response = self.send(request, what).await?;
            let status = response.status();
            if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED && !asked_again {
                asked_again = true;
                if self.log_in(&response, what).await? {
                    continue;
                }
            }
            return Err(self.refusal(response, what).await);
        }
    }

    /// Gets what the registry wants to see, if we have a way to; true if asking again makes sense.
    async fn log_in(&self, response: &Response, what: &str) -> Result<bool, RegistryError> {
        let unsupported = |reason| RegistryError::Challenge {
            registry: self.registry.clone(),
            reason,
        };
        let offered = response.headers().get_all(header::WWW_AUTHENTICATE);
        let offered = offered
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(Challenge::parse);
        let authorization = match offered {
            None => return Err(unsupported("it names neither Bearer nor Basic")),
            Some(Challenge::Basic) => match self.login {
                None => return Ok(false),
                Some(login) => challenge::basic(login),
            },
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let in_clear = !realm.starts_with("https://") && self.base.starts_with("https://");
                if in_clear && self.login.is_some() {
                    return Err(unsupported("it wants the password sent without TLS"));
                }
                self.token(&realm, service.as_deref(), scope.as_deref(), what)
                    .await?
            }
        };
        *self.authorization.lock().await = Some(authorization);
        Ok(true)
    }

    /// A token from the registry's authority, <https://distribution.github.io/distribution/spec/auth/token/>.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        what: &str,
    ) -> Result<Secret, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let scope = match scope {
            Some(scope) => scope.to_owned(),
            None => format!("repository:{}:pull", self.repository),
        };
        let mut url = format!(
            "{realm}{}scope={}",
            if realm.contains('?') { '&' } else { '?' },
            encoded(&scope)
        );
        if let Some(service) = service {
            url = format!("{url}&service={}", encoded(service));
        }
        let mut tries = 0;
        loop {
            let mut request = self.client.get(&url).follow_redirects(REDIRECTS_MAX);
            if let Some(login) = self.login {
                request = request.basic(&login.username, &login.password);
            }
            let result = async {
                let response = self.send(request, what).await?;
                if !response.status().is_success() {
                    return Err(self.refusal(response, what).await);
                }
                let answer: Answer = response.json(1 << 20).await.map_err(self.failed(what))?;
                let token = answer.token.or(answer.access_token);
                token
                    .map(|token| Secret::new(format!("Bearer {token}")))
                    .ok_or(RegistryError::Challenge {
                        registry: self.registry.clone(),
                        reason: "its authority gave no token",
                    })
            };
            let error = match result.await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            tries += 1;
            self.pause(what, tries, error).await?;
        }
    }

    async fn send(&self, request: Request, what: &str) -> Result<Response, RegistryError> {
        let limit = Some(self.config.silence_max);
        let request = request.head_timeout(limit).body_timeout(limit);
        request.send().await.map_err(self.failed(what))
    }

    fn failed(&self, what: &str) -> impl FnOnce(HttpError) -> RegistryError {
        let (registry, what) = (self.registry.clone(), what.to_owned());
        move |source| RegistryError::Exchange {
            registry,
            what,
            source,
        }
    }

    /// What an answer that is no success means, with the registry's own words if it has any.
    async fn refusal(&self, response: Response, what: &str) -> RegistryError {
        let status = response.status();
        let retry_after = response
            .header(header::RETRY_AFTER)
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let message = words(response).await;
        let (registry, what) = (self.registry.clone(), what.to_owned());
        match status.as_u16() {
            404 => RegistryError::Missing {
                registry,
                what,
                message,
            },
            401 | 403 => RegistryError::Denied {
                registry,
                what,
                login: self.login.map(|login| login.username.clone()),
                message,
            },
            _ => RegistryError::Status {
                registry,
                what,
                status,
                message,
                retry_after,
            },
        }
    }
}

/// The messages of an error body, made short and printable; empty if it has another form.
async fn words(response: Response) -> String {
    #[derive(Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(default)]
        details: String,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(errors) = response.json::<Errors>(64 * 1024).await else {
        return String::new();
    };
    let entries = errors.errors.iter().map(|entry| {
        let text = if entry.message.is_empty() {
            &entry.code
        } else {
            &entry.message
        };
        text.as_str()
    });
    let text: Vec<&str> = entries
        .chain([errors.details.as_str()])
        .filter(|text| !text.is_empty())
        .collect();
    let text = text.join("; ");
    let printable = text.chars().filter(|char| !char.is_control());
    printable.take(300).collect()
}

/// Where a registry is: as configured, Docker Hub's real name, without TLS on this host, else by its own name.
fn base_url(registry: &str, config: &StoreConfig) -> String {
    if let Some(known) = config.registries.get(registry) {
        return known.base_url.trim_end_matches('/').to_owned();
    }
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let local = host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match registry {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        _ if local => format!("http://{registry}"),
        _ => format!("https://{registry}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistryConfig;

    #[test]
    fn registries_are_found_where_they_are() {
        let config = StoreConfig {
            registries: [(
                "registry.fly.io".to_owned(),
                RegistryConfig {
                    base_url: "http://127.0.0.1:5000/".to_owned(),
                },
            )]
            .into(),
            ..StoreConfig::default()
        };
        for (registry, base) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("ghcr.io", "https://ghcr.io"),
            ("registry.fly.io", "http://127.0.0.1:5000"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("127.0.0.1.evil.org", "https://127.0.0.1.evil.org"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ] {
            assert_eq!(base_url(registry, &config), base);
        }
    }
}

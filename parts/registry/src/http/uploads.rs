use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, Method, StatusCode, header};
use mayfly_types::Digest;

use super::Desk;
use super::answer::{CONTENT_DIGEST, empty, set};
use super::door::Visitor;
use super::path::parse_digest;
use super::query::Query;
use crate::name::Repository;
use crate::upload::Writing;
use crate::{RegistryError, RepositoryName};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const CHUNK_MIN: HeaderName = HeaderName::from_static("oci-chunk-min-length");

impl Desk {
    /// `POST …/blobs/uploads/`: a mount, a blob at once, or a session.
    pub(super) async fn begin(
        &self,
        method: &Method,
        repository: &Repository,
        visitor: &Visitor,
        query: &Query,
        body: Body,
    ) -> Result<Response, RegistryError> {
        if method != Method::POST {
            return Err(RegistryError::Method(method.clone()));
        }
        if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
            let digest = parse_digest(digest)?;
            if self.mount(repository, visitor, from, digest).await? {
                return Ok(kept(repository, digest));
            }
        }
        let stated = query.get("digest").map(parse_digest).transpose()?;
        let id = self.registry.begin_upload(repository).await?;
        let Some(digest) = stated else {
            return Ok(session(StatusCode::ACCEPTED, repository, &id, 0));
        };
        let writing = self.registry.upload(repository, &id).await?;
        // Nobody was told of the session, so it ends with the request, well or badly.
        match writing.append(body).await {
            Ok(writing) => {
                self.registry
                    .finish_upload(repository, &id, writing, digest)
                    .await?;
                Ok(kept(repository, digest))
            }
            Err(error) => {
                self.registry.cancel_upload(&id).await?;
                Err(error)
            }
        }
    }

    /// False if there is nothing to mount, or nothing the visitor may see.
    async fn mount(
        &self,
        repository: &Repository,
        visitor: &Visitor,
        from: &str,
        digest: Digest,
    ) -> Result<bool, RegistryError> {
        let Ok(from) = from.parse::<RepositoryName>() else {
            return Ok(false);
        };
        let from = match self.door.repository(visitor, &from, &Method::GET).await {
            Ok(from) => from,
            Err(RegistryError::UnknownName(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let to = repository.clone();
        self.registry
            .with(move |shared| shared.mount(&from, &to, digest))
            .await
    }

    /// `…/blobs/uploads/<id>`.
    pub(super) async fn upload(
        &self,
        parts: &Parts,
        repository: &Repository,
        id: &str,
        query: &Query,
        body: Body,
    ) -> Result<Response, RegistryError> {
        let writing = self.registry.upload(repository, id).await?;
        match parts.method {
            Method::GET => {
                let length = writing.length();
                Ok(session(StatusCode::NO_CONTENT, repository, id, length))
            }
            Method::PATCH => {
                check_place(parts, &writing)?;
                let length = writing.append(body).await?.length();
                Ok(session(StatusCode::ACCEPTED, repository, id, length))
            }
            Method::PUT => {
                let digest = query.get("digest").ok_or_else(|| {
                    RegistryError::InvalidDigest("the parameter \"digest\" is required".to_owned())
                })?;
                let digest = parse_digest(digest)?;
                check_place(parts, &writing)?;
                let writing = writing.append(body).await?;
                self.registry
                    .finish_upload(repository, id, writing, digest)
                    .await?;
                Ok(kept(repository, digest))
            }
            Method::DELETE => {
                self.registry.cancel_upload(id).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(RegistryError::Method(parts.method.clone())),
        }
    }
}

/// A chunk that says where it belongs must be the next one.
fn check_place(parts: &Parts, writing: &Writing) -> Result<(), RegistryError> {
    let Some(range) = parts.headers.get(header::CONTENT_RANGE) else {
        return Ok(());
    };
    let length = writing.length();
    let range = range.to_str().unwrap_or_default();
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let range = range.split('/').next().unwrap_or(range);
    let (from, to) = range.split_once('-').unwrap_or((range, ""));
    let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else {
        return Err(RegistryError::InvalidUpload(
            "the Content-Range header must be <first byte>-<last byte>".to_owned(),
        ));
    };
    if from != length {
        return Err(RegistryError::OutOfOrder { length });
    }
    let stated = parts.headers.get(header::CONTENT_LENGTH);
    let stated = stated.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if to.checked_sub(from).is_none() || stated.is_some_and(|stated| to - from + 1 != stated) {
        return Err(RegistryError::InvalidUpload(
            "Content-Range and Content-Length do not agree".to_owned(),
        ));
    }
    Ok(())
}

/// What of an upload is here, in the protocol's words: the last byte's place, which an empty one does not have.
pub(super) fn range(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}

fn session(status: StatusCode, repository: &Repository, id: &str, length: u64) -> Response {
    let mut response = empty(status);
    let location = format!("/v2/{}/blobs/uploads/{id}", repository.name);
    set(&mut response, header::LOCATION, location);
    set(&mut response, header::RANGE, range(length));
    set(&mut response, UPLOAD_ID, id);
    set(&mut response, CHUNK_MIN, "1");
    response
}

fn kept(repository: &Repository, digest: Digest) -> Response {
    let mut response = empty(StatusCode::CREATED);
    let location = format!("/v2/{}/blobs/{digest}", repository.name);
    set(&mut response, header::LOCATION, location);
    set(&mut response, CONTENT_DIGEST, digest.to_string());
    response
}

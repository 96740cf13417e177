use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode, header};
use mayfly_content::digest_of;
use mayfly_types::Digest;
use serde_json::{Value, json};

use super::Desk;
use super::answer::{CONTENT_DIGEST, empty, set};
use super::door::Visitor;
use super::query::Query;
use crate::RegistryError;
use crate::document::{DOCUMENT_BYTES_MAX, Record};
use crate::manifests::{Content, Reference};
use crate::name::Repository;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Tags in one answer, unless fewer are asked for.
const TAGS_MAX: usize = 1000;

impl Desk {
    pub(super) async fn manifest(
        &self,
        parts: &Parts,
        repository: &Repository,
        visitor: &Visitor,
        reference: Reference,
        body: Body,
    ) -> Result<Response, RegistryError> {
        let wanted = repository.clone();
        match parts.method {
            Method::GET | Method::HEAD => {
                let (record, bytes) = self
                    .registry
                    .with(move |shared| {
                        let record = shared.find_manifest(&wanted, &reference)?;
                        let bytes = shared.manifest_bytes(&record)?;
                        Ok((record, bytes))
                    })
                    .await?;
                let mut response = empty(StatusCode::OK);
                set(&mut response, header::CONTENT_TYPE, &record.media_type);
                set(
                    &mut response,
                    header::CONTENT_LENGTH,
                    record.size.to_string(),
                );
                set(&mut response, CONTENT_DIGEST, record.digest.to_string());
                set(
                    &mut response,
                    header::ETAG,
                    format!("\"{}\"", record.digest),
                );
                if parts.method == Method::GET {
                    *response.body_mut() = Body::from(bytes);
                }
                Ok(response)
            }
            Method::PUT => {
                let media_type = media_type(parts)?;
                let bytes = axum::body::to_bytes(body, DOCUMENT_BYTES_MAX)
                    .await
                    .map_err(|_| RegistryError::TooLarge {
                        what: "a manifest",
                        bytes_max: DOCUMENT_BYTES_MAX as u64,
                    })?;
                self.door
                    .admit_image(visitor, repository, digest_of(&bytes))
                    .await?;
                let record = self
                    .registry
                    .with(move |shared| {
                        shared.put_manifest(&wanted, &reference, &media_type, &bytes, Content::Here)
                    })
                    .await?;
                let mut response = empty(StatusCode::CREATED);
                let location = format!("/v2/{}/manifests/{}", repository.name, record.digest);
                set(&mut response, header::LOCATION, location);
                set(&mut response, CONTENT_DIGEST, record.digest.to_string());
                if let Some(subject) = record.subject {
                    set(&mut response, SUBJECT, subject.to_string());
                }
                Ok(response)
            }
            Method::DELETE => {
                let needed = self.door.access.needed().await?;
                self.registry
                    .with(move |shared| shared.delete_manifest(&wanted, &reference, &needed.images))
                    .await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            _ => Err(RegistryError::Method(parts.method.clone())),
        }
    }

    pub(super) async fn tags(
        &self,
        method: &Method,
        repository: &Repository,
        query: &Query,
    ) -> Result<Response, RegistryError> {
        if method != Method::GET {
            return Err(RegistryError::Method(method.clone()));
        }
        let count = query.get("n").and_then(|text| text.parse().ok());
        let count: usize = count.map_or(TAGS_MAX, |count: usize| count.min(TAGS_MAX));
        let last = query.get("last").map(str::to_owned);
        let wanted = repository.clone();
        let (tags, more) = self
            .registry
            .with(move |shared| shared.tags(&wanted, last.as_deref(), count))
            .await?;
        let name = repository.name.to_string();
        let mut response = Json(json!({"name": name, "tags": tags})).into_response();
        if more && let Some(last) = tags.last() {
            let next = format!("</v2/{name}/tags/list?n={count}&last={last}>; rel=\"next\"");
            set(&mut response, header::LINK, next);
        }
        Ok(response)
    }

    pub(super) async fn referrers(
        &self,
        method: &Method,
        repository: &Repository,
        subject: Digest,
        query: &Query,
    ) -> Result<Response, RegistryError> {
        if method != Method::GET {
            return Err(RegistryError::Method(method.clone()));
        }
        let wanted = repository.clone();
        let mut found = self
            .registry
            .with(move |shared| shared.referrers(&wanted, subject))
            .await?;
        let kind = query.get("artifactType");
        if let Some(kind) = kind {
            found.retain(|record| record.artifact_type.as_deref() == Some(kind));
        }
        let manifests: Vec<Value> = found.iter().map(descriptor).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let mut response = Json(index).into_response();
        set(&mut response, header::CONTENT_TYPE, INDEX);
        if kind.is_some() {
            set(&mut response, FILTERS, "artifactType");
        }
        Ok(response)
    }
}

/// What the sender says a manifest is.
fn media_type(parts: &Parts) -> Result<String, RegistryError> {
    let stated = parts.headers.get(header::CONTENT_TYPE);
    let stated = stated.and_then(|value| value.to_str().ok());
    let stated = stated.map(|text| text.split(';').next().unwrap_or(text).trim());
    match stated {
        Some(text) if text.contains('/') && text.len() <= 255 => Ok(text.to_owned()),
        _ => Err(RegistryError::InvalidManifest(
            "the Content-Type header must say what kind of manifest it is".to_owned(),
        )),
    }
}

fn descriptor(record: &Record) -> Value {
    let mut value = json!({
        "mediaType": record.media_type,
        "digest": record.digest,
        "size": record.size,
    });
    if let Some(kind) = &record.artifact_type {
        value["artifactType"] = json!(kind);
    }
    if !record.annotations.is_empty() {
        value["annotations"] = json!(record.annotations);
    }
    value
}

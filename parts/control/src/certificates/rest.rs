//! `/v1/apps/<app>/certificates`: <https://fly.io/docs/machines/api/certificates-resource/>.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use mayfly_certs::acme::Method;
use mayfly_certs::{CertificatePair, PairError};
use mayfly_control_store::{CertificateSource, CustomHostname, HostnameFilter, StoreError};
use mayfly_types::{ErrorKind, Hostname};
use mayfly_wire::{CertificateDetail, CertificatePage, ImportCertificate, RequestCertificate};
use serde::Deserialize;

use super::issue::Shown;
use super::needs::Needs;
use super::view::Picture;
use crate::access::{AppAccess, path_part};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;

const LIMIT: u32 = 100;
const LIMIT_MAX: i64 = 1000;

/// The app and the host name in the path.
pub(crate) struct HostnameAccess {
    access: AppAccess,
    name: Hostname,
}

impl FromRequestParts<Arc<Cloud>> for HostnameAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let access = AppAccess::from_request_parts(parts, cloud).await?;
        let text = path_part(parts, "hostname").await?;
        let name = text.parse().map_err(|_| missing(&access, &text))?;
        Ok(HostnameAccess { access, name })
    }
}

fn missing(access: &AppAccess, name: &str) -> ApiError {
    ApiError::not_found(format!(
        "app {} has no hostname \"{name}\"",
        access.app.name
    ))
}

impl HostnameAccess {
    async fn find(&self, cloud: &Cloud) -> Result<CustomHostname, ApiError> {
        let found = cloud
            .store
            .hostname(self.access.app.id, self.name.clone())
            .await;
        found.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: StoreError) -> ApiError {
        match error.kind() {
            ErrorKind::NotFound => match error {
                StoreError::NotFound {
                    what: "certificate",
                    ..
                } => ApiError::not_found(format!("there is no such certificate for {}", self.name)),
                _ => missing(&self.access, self.name.as_str()),
            },
            _ => error.into(),
        }
    }
}

/// A name from a body, which must not be one the platform gives out itself.
fn wanted(cloud: &Cloud, text: Option<&str>) -> Result<Hostname, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| ApiError::invalid("hostname is required, such as www.example.com"))?;
    let name: Hostname = text
        .parse()
        .map_err(|error| ApiError::invalid(format!("hostname: {error}")))?;
    let domain = &cloud.settings.domain;
    if name.is_within(domain) {
        return Err(ApiError::invalid(format!(
            "hostname: {name} lies within {domain}, where every app has its name and certificate already"
        )));
    }
    Ok(name)
}

async fn detail(
    cloud: &Cloud,
    access: &AppAccess,
    hostname: &CustomHostname,
    with_records: bool,
) -> Result<CertificateDetail, ApiError> {
    let order = cloud
        .store
        .acme_order(Some(access.app.id), hostname.name.to_string())
        .await?;
    let values = order
        .filter(|order| order.method == Method::Dns01.as_str())
        .and_then(|order| Vec::<Shown>::deserialize(order.proofs?).ok())
        .unwrap_or_default();
    let picture = Picture {
        hostname,
        needs: &Needs::of(cloud, &access.app, &hostname.name),
        challenge_values: values.into_iter().map(|shown| shown.dns_value).collect(),
        with_records,
        now: cloud.now(),
    };
    Ok(picture.detail())
}

/// `GET …/certificates`.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<CertificatePage>, ApiError> {
    query.only(&["limit", "cursor", "filter"])?;
    let limit = query.number("limit", 1, LIMIT_MAX)?;
    let limit = limit.map_or(LIMIT, |limit| u32::try_from(limit).unwrap_or(LIMIT));
    let filter = HostnameFilter {
        containing: query.text("filter").map(str::to_owned),
        after: query.text("cursor").map(str::to_owned),
        limit: limit + 1,
    };
    let (mut names, total) = cloud.store.hostnames(access.app.id, filter).await?;
    let more = names.len() > limit as usize;
    names.truncate(limit as usize);
    let now = cloud.now();
    let summaries = names.iter().map(|hostname| {
        let needs = Needs::of(&cloud, &access.app, &hostname.name);
        let picture = Picture {
            hostname,
            needs: &needs,
            challenge_values: Vec::new(),
            with_records: false,
            now,
        };
        picture.summary()
    });
    Ok(Json(CertificatePage {
        certificates: summaries.collect(),
        next_cursor: names
            .last()
            .filter(|_| more)
            .map(|last| last.name.to_string()),
        total_count: total,
    }))
}

/// `POST …/certificates/acme`.
pub(crate) async fn add(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<RequestCertificate>,
) -> Result<Response, ApiError> {
    let name = wanted(&cloud, request.hostname.as_deref())?;
    let by = access.caller.by(&cloud);
    let hostname = cloud.store.add_hostname(access.app.id, name, by).await?;
    let detail = detail(&cloud, &access, &hostname, false).await?;
    Ok((StatusCode::CREATED, Json(detail)).into_response())
}

/// `POST …/certificates/custom`.
pub(crate) async fn import(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    JsonBody(request): JsonBody<ImportCertificate>,
) -> Result<Response, ApiError> {
    let name = wanted(&cloud, request.hostname.as_deref())?;
    let refused = |error: PairError| ApiError::invalid(error.to_string());
    let chain = request.fullchain.unwrap_or_default();
    let key = request.private_key.unwrap_or_default();
    let pair = CertificatePair::checked(&chain, &key, cloud.now()).map_err(refused)?;
    pair.check_covers(&name).map_err(refused)?;
    let custom = CertificateSource::Custom;
    let app = access.app.id;
    let kept = cloud.kept(Some(app), name.as_str(), custom, pair, String::new());
    let by = access.caller.by(&cloud);
    let hostname = cloud.store.import_certificate(app, name, kept, by).await?;
    let detail = detail(&cloud, &access, &hostname, false).await?;
    Ok((StatusCode::CREATED, Json(detail)).into_response())
}

/// `GET …/certificates/<hostname>`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    at: HostnameAccess,
) -> Result<Json<CertificateDetail>, ApiError> {
    let hostname = at.find(&cloud).await?;
    Ok(Json(detail(&cloud, &at.access, &hostname, false).await?))
}

/// `POST …/certificates/<hostname>/check`: asks DNS now, and has an order repeated that waits for it.
pub(crate) async fn check(
    State(cloud): State<Arc<Cloud>>,
    at: HostnameAccess,
) -> Result<Json<CertificateDetail>, ApiError> {
    let hostname = at.find(&cloud).await?;
    let checked = cloud.check_hostname(&at.access.app, &hostname).await;
    let (hostname, _) = checked.map_err(|error| at.explain(error))?;
    let now = cloud.now();
    cloud
        .store
        .wake_hostname(at.access.app.id, at.name.clone(), now)
        .await?;
    Ok(Json(detail(&cloud, &at.access, &hostname, true).await?))
}

/// `DELETE …/certificates/<hostname>`.
pub(crate) async fn remove(
    State(cloud): State<Arc<Cloud>>,
    at: HostnameAccess,
) -> Result<StatusCode, ApiError> {
    let by = at.access.caller.by(&cloud);
    let removed = cloud
        .store
        .remove_hostname(at.access.app.id, at.name.clone(), by)
        .await;
    removed.map_err(|error| at.explain(error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE …/certificates/<hostname>/acme`.
pub(crate) async fn remove_acme(
    State(cloud): State<Arc<Cloud>>,
    at: HostnameAccess,
) -> Result<Json<CertificateDetail>, ApiError> {
    remove_one(&cloud, at, CertificateSource::Fly).await
}

/// `DELETE …/certificates/<hostname>/custom`.
pub(crate) async fn remove_custom(
    State(cloud): State<Arc<Cloud>>,
    at: HostnameAccess,
) -> Result<Json<CertificateDetail>, ApiError> {
    remove_one(&cloud, at, CertificateSource::Custom).await
}

async fn remove_one(
    cloud: &Cloud,
    at: HostnameAccess,
    source: CertificateSource,
) -> Result<Json<CertificateDetail>, ApiError> {
    let by = at.access.caller.by(cloud);
    let app = at.access.app.id;
    let left = cloud
        .store
        .remove_certificate(app, at.name.clone(), source, by)
        .await;
    let left = left.map_err(|error| at.explain(error))?;
    Ok(Json(detail(cloud, &at.access, &left, false).await?))
}

/// `GET /v1/authority/root.pem`: what to trust so that browsers take the local authority's certificates. It is public,
/// so it asks for no token.
pub(crate) async fn root_certificate(State(cloud): State<Arc<Cloud>>) -> Response {
    let root = cloud.certificates.authority.root_pem().to_owned();
    ([(header::CONTENT_TYPE, "application/x-pem-file")], root).into_response()
}

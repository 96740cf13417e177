//! The protocol's paths.

mod answer;
mod blobs;
mod door;
mod manifests;
mod mirror;
mod path;
mod query;
mod uploads;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tracing::error;

use crate::{Origins, Registry, RegistryError};
use answer::empty;
pub use door::Door;
use path::{Page, Path};
use query::Query;

#[derive(Clone)]
struct Desk {
    registry: Registry,
    door: Door,
    origins: Arc<dyn Origins>,
    places: Arc<Semaphore>,
}

/// Everything below `/v2`.
pub fn router(registry: Registry, door: Door, origins: Arc<dyn Origins>) -> Router {
    let desk = Desk {
        places: Arc::new(Semaphore::new(registry.0.limits.requests_max)),
        registry,
        door,
        origins,
    };
    Router::new()
        .route("/v2", any(answer))
        .route("/v2/", any(answer))
        .route("/v2/{*rest}", any(answer))
        .with_state(desk)
}

async fn answer(State(desk): State<Desk>, request: Request) -> Response {
    let Ok(_place) = desk.places.try_acquire() else {
        return RegistryError::Busy(desk.registry.0.limits.requests_max).into_response();
    };
    match AssertUnwindSafe(desk.serve(request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(_) => {
            error!("a request to the registry panicked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl Desk {
    async fn serve(&self, request: Request) -> Result<Response, RegistryError> {
        let (parts, body) = request.into_parts();
        let method = &parts.method;
        let visitor = self.door.visitor(&parts)?;
        let Some(path) = Path::parse(parts.uri.path())? else {
            self.door.admit(&visitor, None, method).await?;
            return Ok(empty(StatusCode::OK));
        };
        let query = Query::of(&parts.uri);
        if let Some(name) = self.mirrored(&path.name, &query) {
            self.door.admit(&visitor, None, &Method::GET).await?;
            return self
                .serve_mirrored(&parts, &visitor, name, path.page, &query)
                .await;
        }
        let repository = self.door.repository(&visitor, &path.name, method).await?;
        match path.page {
            Page::Tags => self.tags(method, &repository, &query).await,
            Page::Manifest(reference) => {
                self.manifest(&parts, &repository, &visitor, reference, body)
                    .await
            }
            Page::Referrers(digest) => self.referrers(method, &repository, digest, &query).await,
            Page::Blob(digest) => self.blob(&parts, &repository, digest).await,
            Page::Uploads => {
                self.begin(method, &repository, &visitor, &query, body)
                    .await
            }
            Page::Upload(id) => self.upload(&parts, &repository, &id, &query, body).await,
        }
    }
}

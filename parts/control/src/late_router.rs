use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use tower_service::Service;

use crate::error::ApiError;

/// The API of a control plane whose store cannot be opened yet. Until then every call is answered with 503.
///
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LateRouter(Arc<OnceLock<Router>>);

impl LateRouter {
    /// From now on calls reach this router; only the first counts.
    pub fn open(&self, router: Router) {
        self.0.set(router).ok();
    }

    pub fn router(&self) -> Router {
        Router::new().fallback(pass).with_state(self.clone())
    }
}

async fn pass(State(late): State<LateRouter>, request: Request) -> Response {
    match late.0.get() {
        Some(router) => match router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => ApiError::store_is_away().into_response(),
    }
}

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio::time::sleep;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::limits::uncharged;

/// How often a request that lasts is held against tokens, members and time anew. What is revoked ends within five
/// seconds everywhere.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Access for a request whose answer goes on for long, such as a stream or a shell.
pub(crate) struct Lasting<A> {
    pub(crate) access: A,
    pub(crate) standing: Standing<A>,
}

/// A request that was let in, to be asked again whether it still would be.
pub(crate) struct Standing<A> {
    cloud: Arc<Cloud>,
    parts: Parts,
    access: PhantomData<fn() -> A>,
}

impl<A> FromRequestParts<Arc<Cloud>> for Lasting<A>
where
    A: FromRequestParts<Arc<Cloud>, Rejection = ApiError>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        Ok(Lasting {
            access: A::from_request_parts(parts, cloud).await?,
            standing: Standing {
                cloud: cloud.clone(),
                parts: uncharged(parts.clone()),
                access: PhantomData,
            },
        })
    }
}

impl<A> Standing<A>
where
    A: FromRequestParts<Arc<Cloud>, Rejection = ApiError>,
{
    /// Returns once the request would be refused, with the reason. `still` is what the handler itself held it to. That
    /// the store cannot be asked is no reason.
    pub(crate) async fn lost(self, still: impl Fn(&A) -> Result<(), ApiError>) -> ApiError {
        loop {
            sleep(CHECK_EVERY).await;
            let mut parts = self.parts.clone();
            let access = A::from_request_parts(&mut parts, &self.cloud).await;
            match access.and_then(|access| still(&access)) {
                Err(refused) if refused.is_final() => return refused,
                _ => {}
            }
        }
    }
}

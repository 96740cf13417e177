use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use mayfly_control_store::{By, Org, Token, User};
use mayfly_types::OrgId;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::request_id::RequestId;
use crate::limits::charge_user;
use crate::presented_token::{presented_tokens, token_hash};

/// More tokens in one header than any client has.
const TOKENS_MAX: usize = 32;

/// The holder of a good token, and the organizations it opens.
pub(crate) struct Caller {
    pub(crate) user: User,
    pub(crate) token: Token,
    pub(crate) orgs: Vec<Org>,
    request_id: Option<String>,
}

impl Caller {
    pub(crate) fn org(&self, id: OrgId) -> Option<&Org> {
        self.orgs.iter().find(|org| org.id == id)
    }

    pub(crate) fn org_ids(&self) -> Vec<OrgId> {
        self.orgs.iter().map(|org| org.id).collect()
    }

    /// The organization called `slug`, which may be `personal`.
    ///
    /// # Errors
    /// 404 for one that does not exist or that the caller has nothing to do with.
    pub(crate) fn org_called(&self, slug: &str) -> Result<&Org, ApiError> {
        self.orgs
            .iter()
            .find(|org| org.slug.as_str() == slug)
            .ok_or_else(|| ApiError::not_found(format!("organization \"{slug}\" was not found")))
    }

    /// The first columns of what this request changes.
    pub(crate) fn by(&self, cloud: &Cloud) -> By {
        By::user(cloud.now(), self.user.id, self.request_id.clone())
    }
}

impl FromRequestParts<Arc<Cloud>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| {
                ApiError::unauthorized(
                    "a token is required: send it as \"Authorization: Bearer …\"",
                )
            })?
            .to_str()
            .map_err(|_| ApiError::unauthorized("the Authorization header is not text"))?;
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
        for token in presented_tokens(header).take(TOKENS_MAX) {
            let known = cloud.store.caller(token_hash(token), cloud.now()).await?;
            let Some(known) = known else {
                continue;
            };
            let mut orgs = cloud.store.orgs_of(known.user.id).await?;
            orgs.retain(|org| known.token.org_id.is_none_or(|only| only == org.id));
            charge_user(parts, &known.user.id.to_string())?;
            return Ok(Caller {
                user: known.user,
                token: known.token,
                orgs,
                request_id,
            });
        }
        Err(ApiError::unauthorized(
            "the token is not known, has expired or was revoked",
        ))
    }
}

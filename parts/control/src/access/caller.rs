use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{StatusCode, header};
use mayfly_control_store::{By, Org, StoreError, Token, User};
use mayfly_types::{MachineId, OrgId};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::request_id::RequestId;
use crate::inside::unaccompanied;
use crate::limits::charge_user;
use crate::presented_token::{presented_tokens, token_hash};

/// More tokens in one header than any client has.
const TOKENS_MAX: usize = 32;

/// Who asks, and the organizations that are open to them.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) orgs: Vec<Org>,
    request_id: Option<String>,
}

/// How a caller is known.
pub(crate) enum Identity {
    /// The holder of a good token.
    User { user: User, token: Token },
    /// A machine at its own door; what it may ask is decided there.
    Machine(MachineId),
}

impl Caller {
    /// The same for all requests of one caller.
    pub(crate) fn key(&self) -> String {
        match &self.identity {
            Identity::User { user, .. } => user.id.to_string(),
            Identity::Machine(machine) => machine.to_string(),
        }
    }

    /// The caller as others are told.
    pub(crate) fn name(&self) -> String {
        match &self.identity {
            Identity::User { user, .. } => user.email.clone(),
            Identity::Machine(machine) => format!("machine {machine}"),
        }
    }

    /// A person or robot.
    ///
    /// # Errors
    /// 403 for a machine.
    pub(crate) fn user(&self) -> Result<(&User, &Token), ApiError> {
        match &self.identity {
            Identity::User { user, token } => Ok((user, token)),
            Identity::Machine(_) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "a token is required here: a machine's own door does not open this",
            )),
        }
    }

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
        let (now, cause) = (cloud.now(), self.request_id.clone());
        match &self.identity {
            Identity::User { user, .. } => By::user(now, user.id, cause),
            Identity::Machine(machine) => By::machine(now, *machine, cause),
        }
    }
}

impl FromRequestParts<Arc<Cloud>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
        if let Some(machine) = unaccompanied(parts) {
            let machine = cloud.store.machine(machine).await?;
            charge_user(parts, machine.id.as_str())?;
            return Ok(Caller {
                identity: Identity::Machine(machine.id),
                orgs: vec![cloud.store.org(machine.org_id).await?],
                request_id,
            });
        }
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
        let Some(holder) = holder_of(cloud, header).await? else {
            return Err(ApiError::unauthorized(
                "the token is not known, has expired or was revoked",
            ));
        };
        charge_user(parts, &holder.user.id.to_string())?;
        Ok(Caller {
            identity: Identity::User {
                user: holder.user,
                token: holder.token,
            },
            orgs: holder.orgs,
            request_id,
        })
    }
}

/// Whose a good token is, and what it opens.
pub(crate) struct Holder {
    user: User,
    token: Token,
    pub(crate) orgs: Vec<Org>,
}

/// The holder of the first good token among those presented.
pub(crate) async fn holder_of(
    cloud: &Cloud,
    presented: &str,
) -> Result<Option<Holder>, StoreError> {
    for token in presented_tokens(presented).take(TOKENS_MAX) {
        let known = cloud.store.caller(token_hash(token), cloud.now()).await?;
        let Some(known) = known else {
            continue;
        };
        let mut orgs = cloud.store.orgs_of(known.user.id).await?;
        orgs.retain(|org| known.token.org_id.is_none_or(|only| only == org.id));
        return Ok(Some(Holder {
            user: known.user,
            token: known.token,
            orgs,
        }));
    }
    Ok(None)
}

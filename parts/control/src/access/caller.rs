use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use http::request::Parts;
use http::{Extensions, StatusCode, header};
use mayfly_access::{Action, Caveat, Request, Roles};
use mayfly_control_store::{App, By, Membership, Org, OrgKind, Role, Token, User};
use mayfly_net::PeerAddr;
use mayfly_types::{MachineId, OrgId};

use super::grant::{Grant, Presented, holder_of, seconds};
use super::need::{Need, need};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::request_id::RequestId;
use crate::inside::{at_door_of, unaccompanied};
use crate::limits::charge_user;

/// Numbers of apps grow from 1: whoever may read this one may read all.
const NO_APP: u64 = u64::MAX;

/// Who asks, and the organizations that are open to them.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) orgs: Vec<Membership>,
    pub(super) need: Need,
    pub(super) grant: Grant,
    /// Seconds since 1970 UTC.
    now: i64,
    from_machine: Option<MachineId>,
    source: Option<IpAddr>,
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
            Identity::Machine(_) => Err(ApiError::forbidden(
                "a token is required here: a machine's own door does not open this",
            )),
        }
    }

    /// A person or robot whose token opens all that they may do.
    ///
    /// # Errors
    /// 403 for machines and for tokens of one organization, app or purpose.
    pub(crate) fn whole_user(&self) -> Result<(&User, &Token), ApiError> {
        let (user, token) = self.user()?;
        match (&self.grant, token.org_id) {
            (Grant::Everything, None) => Ok((user, token)),
            _ => Err(ApiError::forbidden(
                "this token is limited: a user's own token is required here (auth login)",
            )),
        }
    }

    /// The caveats of each of the caller's tokens that has some.
    pub(crate) fn caveats(&self) -> impl Iterator<Item = &Vec<Caveat>> {
        match &self.grant {
            Grant::Everything => [].iter(),
            Grant::Narrowed(tokens) => tokens.iter(),
        }
    }

    fn membership(&self, id: OrgId) -> Option<&Membership> {
        self.orgs.iter().find(|one| one.org.id == id)
    }

    pub(crate) fn role(&self, id: OrgId) -> Option<Role> {
        self.membership(id).map(|one| one.role)
    }

    pub(crate) fn org(&self, id: OrgId) -> Option<&Org> {
        self.membership(id).map(|one| &one.org)
    }

    pub(crate) fn org_ids(&self) -> Vec<OrgId> {
        self.orgs.iter().map(|one| one.org.id).collect()
    }

    /// The organization called `slug`, with which what this request does may be done; `personal` is the caller's own.
    ///
    /// # Errors
    /// 404 for one that does not exist or that the caller has nothing to do with; 403 for what they may not do there.
    pub(crate) fn org_called(&self, slug: &str) -> Result<&Org, ApiError> {
        let org = self.org_named(slug)?;
        self.allow(org.id, self.request(number(org.numeric_id)))?;
        Ok(org)
    }

    /// The organization called `slug`, for what needs no more than to be in it.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn org_named(&self, slug: &str) -> Result<&Org, ApiError> {
        let called = |one: &&Membership| one.org.slug.as_str() == slug;
        let own = |one: &&Membership| slug == "personal" && one.org.kind == OrgKind::Personal;
        let found = self.orgs.iter().find(called);
        let Membership { org, .. } = found
            .or_else(|| self.orgs.iter().find(own))
            .ok_or_else(|| ApiError::not_found(format!("organization \"{slug}\" was not found")))?;
        Ok(org)
    }

    fn request(&self, org: u64) -> Request {
        Request {
            now: self.now,
            action: self.need.action,
            org: Some(org),
            feature: self.need.feature,
            mutation: self.need.mutation,
            from_machine: self.from_machine.map(|id| id.to_string()),
            source: self.source,
            ..Request::default()
        }
    }

    /// What this route does, to an app.
    pub(super) fn request_for(&self, app: &App) -> Request {
        Request {
            app: Some(number(app.numeric_id)),
            ..self.request(number(app.org_numeric_id))
        }
    }

    /// # Errors
    /// 403 with the reason.
    pub(super) fn allow(&self, org: OrgId, request: Request) -> Result<(), ApiError> {
        let role = match self.role(org) {
            Some(Role::Admin) => Roles::ADMIN,
            Some(Role::Member) => Roles::MEMBER,
            None => Roles(0),
        };
        if !role.contains(request.role()) {
            return Err(ApiError::forbidden(
                "only admins of the organization may do this",
            ));
        }
        self.grant.permits(&request).map_err(ApiError::forbidden)
    }

    /// Whether the caller may know of the app.
    pub(crate) fn sees_app(&self, app: &App) -> bool {
        self.org(app.org_id).is_some_and(|org| {
            let request = self.on_app(org, number(app.numeric_id), Action::READ);
            self.grant.permits(&request).is_ok()
        })
    }

    /// Whether no app of the organization is hidden from the caller.
    fn sees_every_app(&self, org: &Org) -> bool {
        let request = self.on_app(org, NO_APP, Action::READ);
        self.grant.permits(&request).is_ok()
    }

    /// Holds that no app of the organization is hidden from the caller, for what tells of all of them.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn whole_org(&self, org: &Org) -> Result<(), ApiError> {
        match self.sees_every_app(org) {
            true => Ok(()),
            false => Err(ApiError::forbidden(
                "this token opens single apps, and this tells of all apps of the organization",
            )),
        }
    }

    /// Holds that the caller may run things in the machines of an app, or of all apps of the organization.
    ///
    /// # Errors
    /// 403 with the reason.
    pub(crate) fn may_enter(&self, org: &Org, app: Option<&App>) -> Result<(), ApiError> {
        let number = app.map_or(NO_APP, |app| number(app.numeric_id));
        let entered = self
            .grant
            .permits(&self.on_app(org, number, Action::CONTROL));
        entered.map_err(|why| match app {
            Some(app) => ApiError::forbidden(format!("app {}: {why}", app.name)),
            None => ApiError::forbidden(
                "this token does not open every app of the organization: name the apps",
            ),
        })
    }

    fn on_app(&self, org: &Org, app: u64, action: Action) -> Request {
        Request {
            action,
            app: Some(app),
            feature: None,
            ..self.request(number(org.numeric_id))
        }
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

fn number(id: i64) -> u64 {
    id.unsigned_abs()
}

impl FromRequestParts<Arc<Cloud>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
        let path = parts.extensions.get::<MatchedPath>();
        let need = need(&parts.method, path.map_or("", MatchedPath::as_str));
        let now = seconds(cloud.now());
        let from_machine = at_door_of(parts);
        let source = source_of(&parts.extensions);
        if let Some(machine) = unaccompanied(parts) {
            let machine = cloud.store.machine(machine).await?;
            charge_user(parts, machine.id.as_str())?;
            let org = cloud.store.org(machine.org_id).await?;
            return Ok(Caller {
                identity: Identity::Machine(machine.id),
                orgs: vec![Membership {
                    org,
                    role: Role::Member,
                }],
                need,
                grant: Grant::Everything,
                now,
                from_machine,
                source,
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
        let holder = match holder_of(cloud, header, source).await? {
            Presented::By(holder) => *holder,
            Presented::FromElsewhere(denied) => {
                return Err(ApiError::forbidden(denied.to_string()));
            }
            Presented::ByNobody => {
                return Err(ApiError::unauthorized(
                    "the token is not known, has expired or was revoked",
                ));
            }
        };
        charge_user(parts, &holder.user.id.to_string())?;
        let narrowed = matches!(holder.grant, Grant::Narrowed(_));
        if narrowed && !need.placed && need.action != Action::READ {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "this token is limited to an organization or an app, and this is about neither",
            ));
        }
        Ok(Caller {
            identity: Identity::User {
                user: holder.user,
                token: holder.token,
            },
            orgs: holder.orgs,
            need,
            grant: holder.grant,
            now,
            from_machine,
            source,
            request_id,
        })
    }
}

/// Where a request comes from, as far as the connection tells.
fn source_of(extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<PeerAddr>();
    peer.map(|PeerAddr(address)| address.ip())
}

/// A caller, or somebody without a token, where both may come.
pub(crate) struct Anybody(pub(crate) Option<Caller>);

impl FromRequestParts<Arc<Cloud>> for Anybody {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        match parts.headers.contains_key(header::AUTHORIZATION) {
            true => Ok(Anybody(Some(
                Caller::from_request_parts(parts, cloud).await?,
            ))),
            false => Ok(Anybody(None)),
        }
    }
}

use std::net::IpAddr;

use mayfly_access::{
    Action, Caveat, Denied, Macaroon, NamedImage, PERMISSION_LOCATION, Request, is_in_time,
    is_macaroon, permits, permits_source, presented_tokens,
};
use mayfly_control_store::{App, Caller as Known, Membership, StoreError, Token, User};
use mayfly_types::{Timestamp, TokenId};

use crate::cloud::Cloud;
use crate::token_hash::token_hash;

/// More tokens in one header than any client has.
const TOKENS_MAX: usize = 32;

/// What the keys of macaroons are derived for.
const KEYS: &str = "macaroon";

/// What the tokens of a request open.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// All that their user may do.
    Everything,
    /// What the caveats of one of them leave.
    Narrowed(Vec<Vec<Caveat>>),
}

impl Grant {
    /// # Errors
    /// Why none of the tokens covers the request, in the words of the last.
    pub(crate) fn permits(&self, request: &Request) -> Result<(), String> {
        self.decide(request).map_err(|denied| denied.to_string())
    }

    fn decide(&self, request: &Request) -> Result<(), Denied> {
        let Grant::Narrowed(tokens) = self else {
            return Ok(());
        };
        let mut why = Denied::Forbidden("the token opens nothing".to_owned());
        for caveats in tokens {
            match permits(caveats, request) {
                Ok(()) => return Ok(()),
                Err(denied) => why = denied,
            }
        }
        Err(why)
    }
}

/// Whose good tokens are, and what they open.
pub(crate) struct Holder {
    pub(crate) user: User,
    pub(crate) token: Token,
    pub(crate) orgs: Vec<Membership>,
    pub(crate) grant: Grant,
    source: Option<IpAddr>,
}

/// What becomes of the tokens of a request.
pub(crate) enum Presented {
    By(Box<Holder>),
    /// None of the good ones may be used from there.
    FromElsewhere(Denied),
    /// None is known and good.
    ByNobody,
}

impl Holder {
    /// Whether an app's own things are open for this, which puts `images` where machines find them.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn opens_app(
        &self,
        app: &App,
        action: Action,
        images: Vec<NamedImage>,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let request = Request {
            now: seconds(now),
            action,
            org: Some(app.org_numeric_id.unsigned_abs()),
            app: Some(app.numeric_id.unsigned_abs()),
            source: self.source,
            images,
            ..Request::default()
        };
        match self.orgs.iter().any(|one| one.org.id == app.org_id) {
            true => self.grant.decide(&request),
            false => Err(Denied::Forbidden(
                "the app is of another organization".to_owned(),
            )),
        }
    }

    /// Whether one of the organizations may be read at all: what caveats have shut, such as by time, is shut.
    pub(crate) fn opens_anything(&self, now: Timestamp) -> bool {
        self.orgs.iter().any(|one| {
            let request = Request {
                now: seconds(now),
                action: Action::READ,
                org: Some(one.org.numeric_id.unsigned_abs()),
                source: self.source,
                ..Request::default()
            };
            self.grant.permits(&request).is_ok()
        })
    }
}

/// As tokens count it.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_millis() / 1000
}

/// The holder of the tokens presented: of the first good opaque one, or else of all good macaroons that may be used from
/// there.
pub(crate) async fn holder_of(
    cloud: &Cloud,
    presented: &str,
    source: Option<IpAddr>,
) -> Result<Presented, StoreError> {
    let mut macaroons: Vec<Macaroon> = Vec::new();
    for token in presented_tokens(presented).take(TOKENS_MAX) {
        if is_macaroon(token) {
            macaroons.extend(token.parse());
            continue;
        }
        let known = cloud.store.caller(token_hash(token), cloud.now()).await?;
        if let Some(Known { token, user }) = known {
            let orgs = orgs_of(cloud, &token, &user).await?;
            return Ok(Presented::By(Box::new(Holder {
                user,
                token,
                orgs,
                grant: Grant::Everything,
                source,
            })));
        }
    }
    let is_permission = |one: &Macaroon| one.location == PERMISSION_LOCATION;
    let (permissions, discharges): (Vec<_>, Vec<_>) =
        macaroons.into_iter().partition(is_permission);
    let mut holder: Option<Holder> = None;
    let mut elsewhere = None;
    for macaroon in permissions {
        let Some(id) = token_id(&macaroon) else {
            continue;
        };
        let Ok(verified) = macaroon.verify(&key_of(cloud, id), &discharges) else {
            continue;
        };
        if !is_in_time(&verified.caveats, seconds(cloud.now())) {
            continue;
        }
        let known = cloud.store.macaroon_caller(id, cloud.now()).await?;
        let Some(Known { token, user }) = known else {
            continue;
        };
        cloud.note_source(&token, &user, source).await;
        if let Err(denied) = permits_source(&verified.caveats, source) {
            elsewhere = Some(denied);
            continue;
        }
        let orgs = orgs_of(cloud, &token, &user).await?;
        let holder = holder.get_or_insert_with(|| Holder {
            user,
            token,
            orgs: Vec::new(),
            grant: Grant::Narrowed(Vec::new()),
            source,
        });
        for membership in orgs {
            if !holder.orgs.contains(&membership) {
                holder.orgs.push(membership);
            }
        }
        if let Grant::Narrowed(tokens) = &mut holder.grant {
            tokens.push(verified.caveats);
        }
    }
    Ok(match (holder, elsewhere) {
        (Some(holder), _) => Presented::By(Box::new(holder)),
        (None, Some(denied)) => Presented::FromElsewhere(denied),
        (None, None) => Presented::ByNobody,
    })
}

async fn orgs_of(cloud: &Cloud, token: &Token, user: &User) -> Result<Vec<Membership>, StoreError> {
    let mut orgs = cloud.store.orgs_of(user.id).await?;
    orgs.retain(|one| token.org_id.is_none_or(|only| only == one.org.id));
    Ok(orgs)
}

fn token_id(macaroon: &Macaroon) -> Option<TokenId> {
    std::str::from_utf8(&macaroon.nonce.key_id)
        .ok()?
        .parse()
        .ok()
}

/// The key that only this cloud can sign a token with.
pub(crate) fn key_of(cloud: &Cloud, id: TokenId) -> [u8; 32] {
    let sealer = &cloud.certificates.sealer;
    sealer.derive_key(id.as_str().as_bytes(), KEYS)
}

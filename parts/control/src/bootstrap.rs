use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mayfly_control_store::{
    By, ControlStore, FirstStart, NewOrg, NewToken, OrgKind, StoreError, TokenKind,
};
use mayfly_runtime::{Clock, Entropy};
use mayfly_types::{OrgId, Secret, TokenId, UserId};

use crate::token_hash::token_hash;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// The token of the first user, made at a cloud's first start and never again.
///
/// Its text is not stored: the caller writes it into the command line's configuration.
#[derive(Clone, Debug)]
pub struct FirstToken {
    pub email: String,
    pub token: Secret,
}

/// Makes the admin, the organization `personal` and a token, unless this cloud has a user already.
///
/// # Errors
/// The store failed; nothing was made.
pub async fn first_start(
    store: &ControlStore,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    domain: &str,
) -> Result<Option<FirstToken>, StoreError> {
    let token = fresh_token(entropy);
    let email = first_email(domain);
    let made = first_start_with(store, clock, entropy, domain, &token).await?;
    Ok(made.then_some(FirstToken { email, token }))
}

/// Like [`first_start`], with a token of the caller's, who may have written it down already. True if they were made now.
pub async fn first_start_with(
    store: &ControlStore,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    domain: &str,
    token: &Secret,
) -> Result<bool, StoreError> {
    let email = first_email(domain);
    let user_id = UserId::from_random(entropy.bytes());
    let first = FirstStart {
        user_id,
        email,
        name: "admin".to_owned(),
        org: NewOrg {
            id: OrgId::from_random(entropy.bytes()),
            slug: "personal".parse().expect("is a slug"),
            name: "Personal".to_owned(),
            kind: OrgKind::Personal,
        },
        token: NewToken {
            id: TokenId::from_random(entropy.bytes()),
            digest: token_hash(token.reveal()),
            name: "first start".to_owned(),
            kind: TokenKind::Opaque,
            user_id,
            org_id: None,
            expires_at: None,
        },
    };
    store.first_start(first, By::platform(clock.now())).await
}

fn first_email(domain: &str) -> String {
    format!("admin@{domain}")
}

/// An opaque user token: the prefix tells clients that it is no macaroon.
pub fn fresh_token(entropy: &dyn Entropy) -> Secret {
    let bytes: [u8; TOKEN_BYTES] = entropy.bytes();
    Secret::new(format!("fo1_{}", URL_SAFE_NO_PAD.encode(bytes)))
}

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mayfly_control_store::{By, ControlStore, FirstStart, NewOrg, NewToken, OrgKind, StoreError};
use mayfly_runtime::{Clock, Entropy};
use mayfly_types::{OrgId, Secret, TokenId, UserId};

use crate::presented_token::token_hash;

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
    let email = format!("admin@{domain}");
    let user_id = UserId::from_random(entropy.bytes());
    let first = FirstStart {
        user_id,
        email: email.clone(),
        name: "admin".to_owned(),
        org: NewOrg {
            id: OrgId::from_random(entropy.bytes()),
            slug: "personal".parse().expect("is a slug"),
            name: "Personal".to_owned(),
            kind: OrgKind::Personal,
        },
        token: NewToken {
            id: TokenId::from_random(entropy.bytes()),
            digest: token_hash(&token),
            name: "first start".to_owned(),
            user_id,
            org_id: None,
            expires_at: None,
        },
    };
    let made = store.first_start(first, By::platform(clock.now())).await?;
    Ok(made.then(|| FirstToken {
        email,
        token: Secret::new(token),
    }))
}

/// An opaque user token: the prefix tells clients that it is no macaroon.
fn fresh_token(entropy: &dyn Entropy) -> String {
    let bytes: [u8; TOKEN_BYTES] = entropy.bytes();
    format!("fo1_{}", URL_SAFE_NO_PAD.encode(bytes))
}

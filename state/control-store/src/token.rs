use mayfly_db::{Row, Tx, args};
use mayfly_types::{Digest, OrgId, Timestamp, TokenId, UserId};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError, User, user};

/// What is known of a token. Its text is known to its holder only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub user_id: UserId,
    /// The one organization it opens; `None` opens all of its user's.
    pub org_id: Option<OrgId>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    pub id: TokenId,
    /// SHA-256 of the token's text.
    pub digest: Digest,
    pub name: String,
    pub user_id: UserId,
    pub org_id: Option<OrgId>,
    pub expires_at: Option<Timestamp>,
}

/// Whose token a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub token: Token,
    pub user: User,
}

const INSERT: &str = "
    INSERT INTO token (id, digest, name, user_id, org_id, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// By the digest, and still good at $2.
const GOOD: &str = "
    SELECT * FROM token
     WHERE digest = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

const USER: &str = "SELECT * FROM account WHERE id = $1";

const OF_USER: &str = "SELECT * FROM token WHERE user_id = $1 ORDER BY created_at, id";

const REVOKE: &str = "
    UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL
    RETURNING name, user_id, org_id";

impl ControlStore {
    pub async fn create_token(&self, new: NewToken, by: By) -> Result<Token, StoreError> {
        self.write(move |tx| insert(tx, new, &by)).await
    }

    /// Who holds the token with this SHA-256; `None` if nobody does, or it has expired or was revoked.
    pub async fn caller(
        &self,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        self.read(move |reader| {
            let Some(row) = reader.row(GOOD, args![digest.to_string(), now])? else {
                return Ok(None);
            };
            let token = from_row(&row)?;
            let row = reader.row(USER, args![token.user_id.as_str()])?;
            let row = row.ok_or_else(|| StoreError::not_found("user", token.user_id))?;
            let user = user::from_row(&row)?;
            Ok(Some(Caller { token, user }))
        })
        .await
    }

    /// All tokens a user ever had that are still recorded, oldest first.
    pub async fn tokens(&self, user: UserId) -> Result<Vec<Token>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_USER, args![user.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// Makes a token useless. Revoking it again succeeds.
    pub async fn revoke_token(&self, id: TokenId, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let Some(row) = tx.row(REVOKE, args![id.as_str(), by.at])? else {
                return Ok(());
            };
            let subject = Subject {
                org: row.parse_opt("org_id")?,
                ..Subject::default()
            };
            let before = json!({
                "id": id,
                "name": row.get::<String>("name")?,
                "user": row.get::<String>("user_id")?,
            });
            append(tx, &by, "token.revoke", &subject, Some(&before), NOTHING)
        })
        .await
    }
}

pub(crate) fn insert(tx: &mut Tx<'_>, new: NewToken, by: &By) -> Result<Token, StoreError> {
    tx.execute(
        INSERT,
        args![
            new.id.as_str(),
            new.digest.to_string(),
            new.name.as_str(),
            new.user_id.as_str(),
            new.org_id.as_ref().map(OrgId::as_str),
            by.at,
            new.expires_at,
        ],
    )?;
    let subject = Subject {
        org: new.org_id,
        ..Subject::default()
    };
    let after = json!({
        "id": new.id,
        "name": new.name,
        "user": new.user_id,
        "expires_at": new.expires_at,
    });
    append(tx, by, "token.create", &subject, NOTHING, Some(&after))?;
    Ok(Token {
        id: new.id,
        name: new.name,
        user_id: new.user_id,
        org_id: new.org_id,
        created_at: by.at,
        expires_at: new.expires_at,
        revoked_at: None,
    })
}

fn from_row(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        id: row.parse("id")?,
        name: row.get("name")?,
        user_id: row.parse("user_id")?,
        org_id: row.parse_opt("org_id")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.get("revoked_at")?,
    })
}

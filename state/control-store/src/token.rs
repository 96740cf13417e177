use mayfly_db::{Row, Tx, args};
use mayfly_types::{AppId, Digest, IpRange, OrgId, Timestamp, TokenId, UserId};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError, User, user};

/// How a token is known when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// By the SHA-256 of its text.
    Opaque,
    /// By its id, which it carries, and a signature that only this cloud can make; `app` is the one it was made for.
    Macaroon { app: Option<AppId> },
}

/// What is known of a token. Its text is known to its holder only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub kind: TokenKind,
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
    pub kind: TokenKind,
    pub user_id: UserId,
    pub org_id: Option<OrgId>,
    pub expires_at: Option<Timestamp>,
}

/// Which tokens are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOf {
    /// Made for all of an organization.
    Org(OrgId),
    App(AppId),
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

const INSERT_MACAROON: &str = "INSERT INTO macaroon (token_id, app_id) VALUES ($1, $2)";

const SELECT: &str = "
    SELECT token.*, macaroon.token_id AS macaroon_id, macaroon.app_id
      FROM token LEFT JOIN macaroon ON macaroon.token_id = token.id WHERE ";

/// Still good at $2.
const OPAQUE: &str = "
    digest = $1 AND macaroon.token_id IS NULL
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

/// Still good at $2.
const MACAROON: &str = "
    token.id = $1 AND macaroon.token_id IS NOT NULL
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

const USER: &str = "SELECT * FROM account WHERE id = $1";

const OF_USER: &str = "user_id = $1 ORDER BY created_at, id";

const OF_ORG: &str = "org_id = $1 AND macaroon.app_id IS NULL ORDER BY created_at, id";

const OF_APP: &str = "macaroon.app_id = $1 ORDER BY created_at, id";

const STANDING_OF_MEMBER: &str = "
    SELECT id FROM token WHERE org_id = $1 AND user_id = $2 AND revoked_at IS NULL";

const STANDING_OF_ORG: &str = "SELECT id FROM token WHERE org_id = $1 AND revoked_at IS NULL";

const STANDING_OF_APP: &str = "SELECT token_id AS id FROM macaroon WHERE app_id = $1";

const FORGET_APP: &str = "DELETE FROM macaroon WHERE app_id = $1";

/// Nobody reads longer lists, and somebody may come from everywhere.
const SOURCES_MAX: i64 = 1000;

const SOURCES: &str = "SELECT COUNT(*) AS known FROM token_source WHERE token_id = $1";

const ADD_SOURCE: &str = "
    INSERT INTO token_source (token_id, source, first_at) VALUES ($1, $2, $3)
    ON CONFLICT (token_id, source) DO NOTHING";

const REVOKE: &str = "
    UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL
    RETURNING name, user_id, org_id";

impl ControlStore {
    pub async fn create_token(&self, new: NewToken, by: By) -> Result<Token, StoreError> {
        self.write(move |tx| insert(tx, new, &by)).await
    }

    /// Who holds the opaque token with this SHA-256; `None` if nobody does, or it has expired or was revoked.
    pub async fn caller(
        &self,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        self.holder(OPAQUE, digest.to_string(), now).await
    }

    /// Who holds the macaroon with this id, if it still stands; whether it is one is for its signature to say.
    pub async fn macaroon_caller(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        self.holder(MACAROON, id.to_string(), now).await
    }

    async fn holder(
        &self,
        condition: &'static str,
        key: String,
        now: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        self.read(move |reader| {
            let Some(row) = reader.row(&format!("{SELECT}{condition}"), args![key, now])? else {
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

    /// # Errors
    /// `NotFound`.
    pub async fn token(&self, id: TokenId) -> Result<Token, StoreError> {
        self.read(move |reader| {
            let row = reader.row(&format!("{SELECT}token.id = $1"), args![id.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("token", id))?)
        })
        .await
    }

    /// The tokens of an organization or an app, revoked and expired ones too, oldest first.
    pub async fn tokens_of(&self, of: TokenOf) -> Result<Vec<Token>, StoreError> {
        self.read(move |reader| {
            let (condition, key) = match &of {
                TokenOf::Org(org) => (OF_ORG, org.as_str()),
                TokenOf::App(app) => (OF_APP, app.as_str()),
            };
            let rows = reader.rows(&format!("{SELECT}{condition}"), args![key])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// All tokens a user ever had that are still recorded, oldest first.
    pub async fn tokens(&self, user: UserId) -> Result<Vec<Token>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(&format!("{SELECT}{OF_USER}"), args![user.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// Makes a token useless. Revoking it again succeeds.
    pub async fn revoke_token(&self, id: TokenId, by: By) -> Result<(), StoreError> {
        self.write(move |tx| revoke(tx, id, &by)).await
    }
}

impl ControlStore {
    /// Writes down that a token was used from somewhere, with an event if that is new.
    pub async fn note_token_source(
        &self,
        token: &Token,
        source: IpRange,
        by: By,
    ) -> Result<(), StoreError> {
        let token = token.clone();
        self.write(move |tx| {
            let source = source.to_string();
            let counted = tx.row(SOURCES, args![token.id.as_str()])?;
            let counted = counted.expect("an aggregate without groups is one row");
            let known: i64 = counted.get("known")?;
            let values = args![token.id.as_str(), source.as_str(), by.at];
            if known >= SOURCES_MAX || tx.execute(ADD_SOURCE, values)? == 0 {
                return Ok(());
            }
            let subject = Subject {
                org: token.org_id,
                ..Subject::default()
            };
            let after = json!({
                "id": token.id,
                "name": token.name,
                "source": source,
                "first": known == 0,
            });
            append(tx, &by, "token.source", &subject, NOTHING, Some(&after))
        })
        .await
    }
}

fn revoke(tx: &mut Tx<'_>, id: TokenId, by: &By) -> Result<(), StoreError> {
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
    append(tx, by, "token.revoke", &subject, Some(&before), NOTHING)
}

/// Revokes what a member made for an organization.
pub(crate) fn revoke_of_member(
    tx: &mut Tx<'_>,
    org: OrgId,
    member: UserId,
    by: &By,
) -> Result<(), StoreError> {
    let rows = tx.rows(STANDING_OF_MEMBER, args![org.as_str(), member.as_str()])?;
    revoke_rows(tx, &rows, by)
}

/// Revokes all that was made for an organization.
pub(crate) fn revoke_of_org(tx: &mut Tx<'_>, org: OrgId, by: &By) -> Result<(), StoreError> {
    let rows = tx.rows(STANDING_OF_ORG, args![org.as_str()])?;
    revoke_rows(tx, &rows, by)
}

/// Revokes the tokens of an app that is deleted.
pub(crate) fn revoke_of_app(tx: &mut Tx<'_>, app: AppId, by: &By) -> Result<(), StoreError> {
    let rows = tx.rows(STANDING_OF_APP, args![app.as_str()])?;
    revoke_rows(tx, &rows, by)?;
    tx.execute(FORGET_APP, args![app.as_str()])?;
    Ok(())
}

fn revoke_rows(tx: &mut Tx<'_>, rows: &[Row], by: &By) -> Result<(), StoreError> {
    rows.iter()
        .try_for_each(|row| revoke(tx, row.parse("id")?, by))
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
    if let TokenKind::Macaroon { app } = &new.kind {
        let values = args![new.id.as_str(), app.as_ref().map(AppId::as_str)];
        tx.execute(INSERT_MACAROON, values)?;
    }
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
        kind: new.kind,
        user_id: new.user_id,
        org_id: new.org_id,
        created_at: by.at,
        expires_at: new.expires_at,
        revoked_at: None,
    })
}

fn from_row(row: &Row) -> Result<Token, StoreError> {
    let kind = match row.parse_opt::<TokenId>("macaroon_id")? {
        None => TokenKind::Opaque,
        Some(_) => TokenKind::Macaroon {
            app: row.parse_opt("app_id")?,
        },
    };
    Ok(Token {
        id: row.parse("id")?,
        name: row.get("name")?,
        kind,
        user_id: row.parse("user_id")?,
        org_id: row.parse_opt("org_id")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.get("revoked_at")?,
    })
}

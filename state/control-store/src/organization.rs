use std::fmt;
use std::str::FromStr;

use mayfly_db::{DbError, Reader, Row, Tx, args};
use mayfly_types::{OrgId, OrgSlug, Timestamp, UserId};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::store::next_number;
use crate::{By, ControlStore, StoreError, User, invitation, network, token, user};

/// The owner of apps, networks and members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Org {
    pub id: OrgId,
    /// For clients that want a number.
    pub numeric_id: i64,
    pub slug: OrgSlug,
    pub name: String,
    pub kind: OrgKind,
    pub created_at: Timestamp,
}

/// An organization to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrg {
    pub id: OrgId,
    pub slug: OrgSlug,
    pub name: String,
    pub kind: OrgKind,
}

/// An organization, to one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub org: Org,
    pub role: Role,
}

/// A user in an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub since: Timestamp,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($name::$variant),)*
                    _ => Err(format!("`{text}` is none of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}
pub(crate) use words;

words!(
    /// Whether an organization belongs to one user or is shared.
    OrgKind {
        Personal = "PERSONAL",
        Shared = "SHARED",
    }
);

words!(
    /// What a member may do: admins manage members and the organization itself.
    Role {
        Admin = "admin",
        Member = "member",
    }
);

const INSERT: &str = "
    INSERT INTO organization (id, numeric_id, slug, name, kind, created_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (slug) DO NOTHING";

const BY_ID: &str = "SELECT * FROM organization WHERE id = $1";

const BY_SLUG: &str = "SELECT * FROM organization WHERE slug = $1";

const ALL: &str = "
    SELECT * FROM organization WHERE id NOT IN (SELECT org_id FROM deleted_organization)
     ORDER BY numeric_id";

const OF_USER: &str = "
    SELECT organization.*, member.role FROM organization JOIN member ON member.org_id = organization.id
     WHERE member.user_id = $1 ORDER BY numeric_id";

const PUT_MEMBER: &str = "
    INSERT INTO member (org_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role";

const REMOVE_MEMBER: &str = "DELETE FROM member WHERE org_id = $1 AND user_id = $2";

const ROLE: &str = "SELECT role FROM member WHERE org_id = $1 AND user_id = $2";

const MEMBERS: &str = "
    SELECT account.*, member.role, member.created_at AS since
      FROM member JOIN account ON account.id = member.user_id
     WHERE member.org_id = $1 ORDER BY account.email";

const APPS: &str = "
    SELECT COUNT(*) AS n FROM app WHERE org_id = $1 AND deleted_at IS NULL";

const PEERS: &str = "SELECT COUNT(*) AS n FROM wireguard_peer WHERE org_id = $1";

const DELETE: &str = "INSERT INTO deleted_organization (org_id, deleted_at) VALUES ($1, $2)";

const FREE_SLUG: &str = "UPDATE organization SET slug = 'deleted--' || numeric_id WHERE id = $1";

const REMOVE_MEMBERS: &str = "DELETE FROM member WHERE org_id = $1";

const OTHER_ADMINS: &str = "
    SELECT COUNT(*) AS n FROM member WHERE org_id = $1 AND user_id <> $2 AND role = 'admin'";

impl ControlStore {
    /// Makes an organization with its `default` network; `owner` becomes its admin.
    ///
    /// # Errors
    /// `Taken` if the slug exists; `NotFound` if the owner does not.
    pub async fn create_org(&self, new: NewOrg, owner: UserId, by: By) -> Result<Org, StoreError> {
        self.write(move |tx| insert(tx, new, owner, &by)).await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn org(&self, id: OrgId) -> Result<Org, StoreError> {
        self.read(move |reader| by_id(reader, id)).await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn org_by_slug(&self, slug: OrgSlug) -> Result<Org, StoreError> {
        self.read(move |reader| {
            let row = reader.row(BY_SLUG, args![slug.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("organization", slug))?)
        })
        .await
    }

    /// Every organization, oldest first.
    pub async fn orgs(&self) -> Result<Vec<Org>, StoreError> {
        self.read(|reader| reader.rows(ALL, &[])?.iter().map(from_row).collect())
            .await
    }

    /// The organizations a user is a member of, oldest first.
    pub async fn orgs_of(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_USER, args![user.as_str()])?;
            rows.iter()
                .map(|row| {
                    Ok(Membership {
                        org: from_row(row)?,
                        role: row.parse("role")?,
                    })
                })
                .collect()
        })
        .await
    }

    /// The members of an organization, by e-mail address.
    pub async fn members(&self, org: OrgId) -> Result<Vec<Member>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(MEMBERS, args![org.as_str()])?;
            rows.iter()
                .map(|row| {
                    Ok(Member {
                        user: user::from_row(row)?,
                        role: row.parse("role")?,
                        since: row.get("since")?,
                    })
                })
                .collect()
        })
        .await
    }

    /// A user's role in an organization; `None` for strangers.
    pub async fn role(&self, org: OrgId, user: UserId) -> Result<Option<Role>, StoreError> {
        self.read(move |reader| Ok(role(reader, org, user)?)).await
    }

    /// Adds a member, or changes the role of one.
    ///
    /// # Errors
    /// `LastAdmin`; a conflict from the database if the organization or the user does not exist.
    pub async fn put_member(
        &self,
        org: OrgId,
        user: UserId,
        wanted: Role,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| put_member(tx, org, user, wanted, &by))
            .await
    }

    /// Takes a member out, and with them the tokens they made for it; a stranger is already out.
    ///
    /// # Errors
    /// `LastAdmin`.
    pub async fn remove_member(&self, org: OrgId, user: UserId, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let Some(before) = role(tx, org, user)? else {
                return Ok(());
            };
            if before == Role::Admin {
                keep_an_admin(tx, org, user)?;
            }
            tx.execute(REMOVE_MEMBER, args![org.as_str(), user.as_str()])?;
            token::revoke_of_member(tx, org, user, &by)?;
            let before = json!({ "user": user, "role": before.as_str() });
            append(
                tx,
                &by,
                "org.member.remove",
                &Subject::org(org),
                Some(&before),
                NOTHING,
            )
        })
        .await
    }

    /// Deletes an organization without apps: its slug is free, its members, invitations and tokens are gone.
    ///
    /// # Errors
    /// `NotFound`; `Personal`; `OrgNotEmpty` while it has apps or WireGuard peers.
    pub async fn delete_org(&self, id: OrgId, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let org = by_id(tx, id)?;
            if org.kind == OrgKind::Personal {
                return Err(StoreError::Personal(org.slug.to_string()));
            }
            let (apps, peers) = (count(tx, APPS, id)?, count(tx, PEERS, id)?);
            if apps + peers > 0 {
                let org = org.slug.to_string();
                return Err(StoreError::OrgNotEmpty { org, apps, peers });
            }
            token::revoke_of_org(tx, id, &by)?;
            invitation::forget_org(tx, id)?;
            tx.execute(REMOVE_MEMBERS, args![id.as_str()])?;
            tx.execute(DELETE, args![id.as_str(), by.at])?;
            tx.execute(FREE_SLUG, args![id.as_str()])?;
            let before = json!({ "id": id, "slug": org.slug, "name": org.name });
            append(
                tx,
                &by,
                "org.delete",
                &Subject::org(id),
                Some(&before),
                NOTHING,
            )
        })
        .await
    }
}

fn count(reader: &mut Reader<'_>, query: &str, org: OrgId) -> Result<i64, StoreError> {
    let row = reader.row(query, args![org.as_str()])?;
    Ok(row.expect("a count is a row").get("n")?)
}

pub(crate) fn insert(
    tx: &mut Tx<'_>,
    new: NewOrg,
    owner: UserId,
    by: &By,
) -> Result<Org, StoreError> {
    let org = Org {
        id: new.id,
        numeric_id: next_number(tx, "organization")?,
        slug: new.slug,
        name: new.name,
        kind: new.kind,
        created_at: by.at,
    };
    let values = args![
        org.id.as_str(),
        org.numeric_id,
        org.slug.as_str(),
        org.name.as_str(),
        org.kind.as_str(),
        by.at,
    ];
    if tx.execute(INSERT, values)? == 0 {
        return Err(StoreError::taken("organization", org.slug));
    }
    let after =
        json!({ "id": org.id, "slug": org.slug, "name": org.name, "type": org.kind.as_str() });
    append(
        tx,
        by,
        "org.create",
        &Subject::org(org.id),
        NOTHING,
        Some(&after),
    )?;
    put_member(tx, org.id, owner, Role::Admin, by)?;
    network::ensure(tx, org.id, network::DEFAULT, by)?;
    Ok(org)
}

fn put_member(
    tx: &mut Tx<'_>,
    org: OrgId,
    user: UserId,
    wanted: Role,
    by: &By,
) -> Result<(), StoreError> {
    let before = role(tx, org, user)?;
    if before == Some(wanted) {
        return Ok(());
    }
    if before == Some(Role::Admin) {
        keep_an_admin(tx, org, user)?;
    }
    tx.execute(
        PUT_MEMBER,
        args![org.as_str(), user.as_str(), wanted.as_str(), by.at],
    )?;
    let shape = |role: Role| json!({ "user": user, "role": role.as_str() });
    append(
        tx,
        by,
        "org.member.put",
        &Subject::org(org),
        before.map(shape).as_ref(),
        Some(&shape(wanted)),
    )
}

/// Makes an invited user a member; who is one already loses nothing by it.
pub(crate) fn join(
    tx: &mut Tx<'_>,
    org: OrgId,
    user: UserId,
    invited_as: Role,
    by: &By,
) -> Result<(), StoreError> {
    match role(tx, org, user)? {
        Some(Role::Admin) => Ok(()),
        _ => put_member(tx, org, user, invited_as, by),
    }
}

fn role(reader: &mut Reader<'_>, org: OrgId, user: UserId) -> Result<Option<Role>, DbError> {
    match reader.row(ROLE, args![org.as_str(), user.as_str()])? {
        Some(row) => row.parse("role").map(Some),
        None => Ok(None),
    }
}

fn keep_an_admin(tx: &mut Tx<'_>, org: OrgId, leaving: UserId) -> Result<(), StoreError> {
    let row = tx.row(OTHER_ADMINS, args![org.as_str(), leaving.as_str()])?;
    let others: i64 = row.expect("a count is a row").get("n")?;
    if others == 0 {
        return Err(StoreError::LastAdmin);
    }
    Ok(())
}

pub(crate) fn by_id(reader: &mut Reader<'_>, id: OrgId) -> Result<Org, StoreError> {
    let row = reader.row(BY_ID, args![id.as_str()])?;
    from_row(&row.ok_or_else(|| StoreError::not_found("organization", id))?)
}

pub(crate) fn from_row(row: &Row) -> Result<Org, StoreError> {
    Ok(Org {
        id: row.parse("id")?,
        numeric_id: row.get("numeric_id")?,
        slug: row.parse("slug")?,
        name: row.get("name")?,
        kind: row.parse("kind")?,
        created_at: row.get("created_at")?,
    })
}

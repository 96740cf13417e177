use mayfly_db::{Row, Tx, args};
use mayfly_types::{Digest, OrgId, Timestamp, UserId};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{
    By, ControlStore, NewOrg, NewToken, Org, OrgKind, Role, StoreError, organization, token, user,
};

/// Somebody who may become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub org_id: OrgId,
    pub email: String,
    pub role: Role,
    pub invited_by: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An invitation to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvitation {
    pub org_id: OrgId,
    pub email: String,
    /// SHA-256 of the code that the invited person is given.
    pub digest: Digest,
    pub role: Role,
    pub invited_by: UserId,
    pub expires_at: Timestamp,
}

/// Who accepts an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// Somebody this cloud knows.
    User(UserId),
    New(Box<NewPerson>),
}

/// Who is not known yet, with the organization and the token that everybody has. The e-mail is the invitation's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPerson {
    pub id: UserId,
    pub name: String,
    pub personal: NewOrg,
    pub token: NewToken,
}

/// What accepting came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub org: Org,
    pub email: String,
    pub role: Role,
}

const PUT: &str = "
    INSERT INTO invitation (org_id, email, digest, role, invited_by, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (org_id, email) DO UPDATE SET digest = excluded.digest, role = excluded.role,
        invited_by = excluded.invited_by, created_at = excluded.created_at, expires_at = excluded.expires_at";

const OF_ORG: &str = "SELECT * FROM invitation WHERE org_id = $1 ORDER BY email";

const BY_DIGEST: &str = "SELECT * FROM invitation WHERE digest = $1 AND expires_at > $2";

const REMOVE: &str = "DELETE FROM invitation WHERE org_id = $1 AND email = $2";

const FORGET_ORG: &str = "DELETE FROM invitation WHERE org_id = $1";

impl ControlStore {
    /// Invites somebody; an earlier invitation of the same address is replaced.
    ///
    /// # Errors
    /// `NotFound`; `Personal` for an organization that has one member by nature.
    pub async fn invite(&self, new: NewInvitation, by: By) -> Result<Invitation, StoreError> {
        self.write(move |tx| {
            let org = organization::by_id(tx, new.org_id)?;
            if org.kind == OrgKind::Personal {
                return Err(StoreError::Personal(org.slug.to_string()));
            }
            let values = args![
                new.org_id.as_str(),
                new.email.as_str(),
                new.digest.to_string(),
                new.role.as_str(),
                new.invited_by.as_str(),
                by.at,
                new.expires_at,
            ];
            tx.execute(PUT, values)?;
            let after = json!({
                "email": new.email, "role": new.role.as_str(), "expires_at": new.expires_at,
            });
            let subject = Subject::org(new.org_id);
            append(
                tx,
                &by,
                "org.invitation.create",
                &subject,
                NOTHING,
                Some(&after),
            )?;
            Ok(Invitation {
                org_id: new.org_id,
                email: new.email,
                role: new.role,
                invited_by: new.invited_by,
                created_at: by.at,
                expires_at: new.expires_at,
            })
        })
        .await
    }

    /// The invitations nobody accepted yet, expired ones too, by address.
    pub async fn invitations(&self, org: OrgId) -> Result<Vec<Invitation>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_ORG, args![org.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// Takes an invitation back; true if there was one.
    pub async fn remove_invitation(
        &self,
        org: OrgId,
        email: String,
        by: By,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            if tx.execute(REMOVE, args![org.as_str(), email.as_str()])? == 0 {
                return Ok(false);
            }
            let before = json!({ "email": email });
            let subject = Subject::org(org);
            append(
                tx,
                &by,
                "org.invitation.remove",
                &subject,
                Some(&before),
                NOTHING,
            )?;
            Ok(true)
        })
        .await
    }

    /// Makes whoever has the code with this SHA-256 a member, and a user if they are none. An invitation serves once.
    ///
    /// # Errors
    /// `NotFound` if it does not exist or has expired; `Taken` if the invited address has a user already, who then
    /// has to accept it as that; nothing was changed then.
    pub async fn accept_invitation(
        &self,
        digest: Digest,
        accepting: Accepting,
        by: By,
    ) -> Result<Accepted, StoreError> {
        self.write(move |tx| {
            let row = tx.row(BY_DIGEST, args![digest.to_string(), by.at])?;
            let unknown = || StoreError::not_found("invitation", "with this code");
            let invitation = from_row(&row.ok_or_else(unknown)?)?;
            let user = match accepting {
                Accepting::User(user) => user,
                Accepting::New(person) => {
                    user::insert(tx, person.id, &invitation.email, &person.name, &by)?;
                    organization::insert(tx, person.personal, person.id, &by)?;
                    token::insert(tx, person.token, &by)?;
                    person.id
                }
            };
            organization::join(tx, invitation.org_id, user, invitation.role, &by)?;
            let gone = args![invitation.org_id.as_str(), invitation.email.as_str()];
            tx.execute(REMOVE, gone)?;
            Ok(Accepted {
                org: organization::by_id(tx, invitation.org_id)?,
                email: invitation.email,
                role: invitation.role,
            })
        })
        .await
    }
}

/// Forgets the invitations to an organization that is deleted.
pub(crate) fn forget_org(tx: &mut Tx<'_>, org: OrgId) -> Result<(), StoreError> {
    tx.execute(FORGET_ORG, args![org.as_str()])?;
    Ok(())
}

fn from_row(row: &Row) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        org_id: row.parse("org_id")?,
        email: row.get("email")?,
        role: row.parse("role")?,
        invited_by: row.parse("invited_by")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}

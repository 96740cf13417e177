use mayfly_db::{Row, Tx, args};
use mayfly_types::{Timestamp, UserId};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError};

/// A person or robot that owns tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub created_at: Timestamp,
}

const INSERT: &str = "
    INSERT INTO account (id, email, name, created_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (email) DO NOTHING";

const BY_ID: &str = "SELECT * FROM account WHERE id = $1";

const BY_EMAIL: &str = "SELECT * FROM account WHERE email = $1";

impl ControlStore {
    /// Adds a user without any organization.
    ///
    /// # Errors
    /// `Taken` if somebody has this address.
    pub async fn create_user(
        &self,
        id: UserId,
        email: String,
        name: String,
        by: By,
    ) -> Result<User, StoreError> {
        self.write(move |tx| insert(tx, id, &email, &name, &by))
            .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn user(&self, id: UserId) -> Result<User, StoreError> {
        self.read(move |reader| {
            let row = reader.row(BY_ID, args![id.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("user", id))?)
        })
        .await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn user_by_email(&self, email: String) -> Result<User, StoreError> {
        self.read(move |reader| {
            let row = reader.row(BY_EMAIL, args![email.as_str()])?;
            from_row(&row.ok_or_else(|| StoreError::not_found("user", email))?)
        })
        .await
    }
}

pub(crate) fn insert(
    tx: &mut Tx<'_>,
    id: UserId,
    email: &str,
    name: &str,
    by: &By,
) -> Result<User, StoreError> {
    if tx.execute(INSERT, args![id.as_str(), email, name, by.at])? == 0 {
        return Err(StoreError::taken("user", email));
    }
    let after = json!({ "id": id, "email": email, "name": name });
    append(
        tx,
        by,
        "user.create",
        &Subject::default(),
        NOTHING,
        Some(&after),
    )?;
    Ok(User {
        id,
        email: email.to_owned(),
        name: name.to_owned(),
        created_at: by.at,
    })
}

pub(crate) fn from_row(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.parse("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
    })
}

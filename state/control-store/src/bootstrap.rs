use mayfly_db::{DbError, args};
use mayfly_types::UserId;

use crate::{By, ControlStore, NewOrg, NewToken, StoreError, organization, token, user};

/// What a new cloud begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstStart {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub org: NewOrg,
    pub token: NewToken,
}

const COUNT: &str = "SELECT COUNT(*) AS n FROM account";

impl ControlStore {
    /// Makes the first user with an organization and a token, unless there is a user already.
    ///
    /// True if they were made now: then, and only then, the token's text is worth writing down.
    pub async fn first_start(&self, first: FirstStart, by: By) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let users: i64 = match tx.row(COUNT, args![])? {
                Some(row) => row.get("n")?,
                None => return Err(DbError::column("n", "is missing".to_owned()).into()),
            };
            if users > 0 {
                return Ok(false);
            }
            user::insert(tx, first.user_id, &first.email, &first.name, &by)?;
            organization::insert(tx, first.org, first.user_id, &by)?;
            token::insert(tx, first.token, &by)?;
            Ok(true)
        })
        .await
    }
}

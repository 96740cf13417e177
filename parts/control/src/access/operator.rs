use mayfly_control_store::Role;

use super::Caller;
use crate::cloud::Cloud;
use crate::error::ApiError;

/// Holds that the caller runs this cloud: servers, and images that everybody's machines may run by name, are nobody
/// else's matter.
///
/// # Errors
/// 403.
pub(crate) async fn operator(cloud: &Cloud, caller: &Caller) -> Result<(), ApiError> {
    let (user, token) = caller.user()?;
    let first = cloud.store.orgs().await?.into_iter().next();
    let is_admin = match first {
        Some(org) if token.org_id.is_none() => {
            cloud.store.role(org.id, user.id).await? == Some(Role::Admin)
        }
        _ => false,
    };
    match is_admin {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "only the operator of this cloud may do this: an admin of the first organization, with a token for all",
        )),
    }
}

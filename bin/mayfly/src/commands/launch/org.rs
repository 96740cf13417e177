use mayfly_wire::closest;

use crate::client::Api;
use crate::failure::Failure;

/// Looks for the organization a flag names, before anything is made in it.
///
/// # Errors
/// The caller sees organizations, and none of that slug.
pub(super) async fn exists(api: &Api, wanted: Option<&str>) -> anyhow::Result<()> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    // A token may be good for making apps and not for looking around.
    let Ok(orgs) = api.orgs().await else {
        return Ok(());
    };
    let slugs: Vec<&str> = orgs.iter().map(|org| org.slug()).collect();
    if slugs.is_empty() || slugs.contains(&wanted) {
        return Ok(());
    }
    let meant = closest(wanted, slugs.iter().copied())
        .map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Err(
        Failure::new(format!("there is no organization {wanted}{meant}"))
            .remedy(format!("Yours are {}.", slugs.join(", ")))
            .into(),
    )
}

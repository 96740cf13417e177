use super::Context;
use crate::client::Api;

/// The organization named, or the one chosen; there is nothing to choose from one. `instead` is the flag or argument
/// that names one.
pub(crate) async fn chosen_org(
    context: &Context,
    api: &Api,
    given: Option<String>,
    instead: &str,
) -> anyhow::Result<String> {
    if let Some(given) = given.filter(|org| !org.is_empty()) {
        return Ok(given);
    }
    let orgs = api.orgs().await?;
    let slugs: Vec<String> = orgs.iter().map(|org| org.slug().to_owned()).collect();
    match slugs.as_slice() {
        [only] => Ok(only.clone()),
        _ => {
            let chosen = context.out.choose("Organization", &slugs, instead)?;
            Ok(slugs[chosen].clone())
        }
    }
}

use clap::Args;

use crate::client::{Api, PrivateNetwork};
use crate::context::AppFlags;
use crate::failure::Failure;

/// Chooses a private network: that of an app, or the default one of an organization.
#[derive(Args, Clone, Debug)]
pub(crate) struct PrivateFlags {
    #[command(flatten)]
    pub(crate) app: AppFlags,
    /// Organization
    #[arg(short, long, value_name = "ORG", env = "FLY_ORG", hide_env = true)]
    org: Option<String>,
}

impl PrivateFlags {
    /// By app, by organization, or by the app that `name` (`<app>.internal`, …) speaks of; else the only organization.
    pub(crate) async fn network(
        &self,
        api: &Api,
        name: Option<&str>,
    ) -> anyhow::Result<PrivateNetwork> {
        let org = self.org.clone().filter(|org| !org.is_empty());
        let named = match org {
            Some(_) => None,
            None => match self.app.find()? {
                Some(app) => Some(app),
                None => name.and_then(app_in).map(str::to_owned),
            },
        };
        if let Some(app) = named {
            let org = api.app(&app).await?.org_slug().to_owned();
            return Ok(PrivateNetwork {
                org,
                app: Some(app),
            });
        }
        if let Some(org) = org {
            return Ok(PrivateNetwork { org, app: None });
        }
        let orgs = api.orgs().await?;
        match orgs.as_slice() {
            [only] => Ok(PrivateNetwork {
                org: only.slug().to_owned(),
                app: None,
            }),
            _ => Err(Failure::new("neither an app nor an organization was named")
                .remedy("Name one with --app NAME or --org ORG.")
                .into()),
        }
    }
}

/// The app a private name is about.
fn app_in(name: &str) -> Option<&str> {
    let name = name.trim_end_matches('.');
    let below = name
        .strip_suffix(".internal")
        .or_else(|| name.strip_suffix(".flycast"))?;
    let app = below.rsplit('.').next()?;
    (!app.is_empty() && !app.starts_with('_')).then_some(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_app() {
        for (name, app) in [
            ("web.internal", Some("web")),
            ("1234.vm.web.internal.", Some("web")),
            ("web.flycast", Some("web")),
            ("_apps.internal", None),
            ("example.com", None),
            ("fdaa::3", None),
        ] {
            assert_eq!(app_in(name), app, "{name}");
        }
    }
}

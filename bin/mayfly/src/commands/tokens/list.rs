use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::context::{AppFlags, Context, JsonFlag, chosen_org};
use crate::failure::Failure;
use crate::output::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    App,
    Org,
    /// Your own
    User,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    /// Slug of the organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Whose tokens; `app` unless only an organization is named
    #[arg(short, long)]
    scope: Option<Scope>,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let named = self.app.app.is_some() || self.app.config.is_some();
        let by_org = match self.scope {
            Some(scope) => scope == Scope::Org && !named,
            None => self.org.is_some() && !named,
        };
        let (tokens, title) = if self.scope == Some(Scope::User) {
            let title = "Your own tokens:".to_owned();
            (api.personal_tokens().await?, title)
        } else if by_org {
            let org = chosen_org(context, &api, self.org, "--org").await?;
            let title = format!("Tokens for organization \"{org}\":");
            (api.tokens(&org, None).await?, title)
        } else {
            let app = self.app.require()?;
            let found = api.app(&app).await?;
            if self
                .org
                .as_deref()
                .is_some_and(|org| org != found.org_slug())
            {
                return Err(Failure::new(format!(
                    "app {app} belongs to organization \"{}\", not to the one of --org",
                    found.org_slug()
                ))
                .into());
            }
            let title = format!("Tokens for app \"{app}\":");
            (api.tokens(found.org_slug(), Some(&app)).await?, title)
        };
        if self.json.json {
            let documents = tokens.iter().map(|token| token.document().clone());
            return Ok(context.out.json(&Value::from_iter(documents))?);
        }
        context.out.line(&title)?;
        let mut table = Table::new(&["ID", "Name", "Created By", "Expires At", "Revoked At"]);
        for token in &tokens {
            table.row(token.cells());
        }
        Ok(table.print(&context.out)?)
    }
}

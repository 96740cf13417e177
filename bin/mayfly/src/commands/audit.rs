use clap::Args;
use jiff::{SignedDuration, Timestamp};
use mayfly_wire::GoDuration;
use serde_json::Value;

use crate::client::{Api, AuditFilter};
use crate::context::{Context, JsonFlag, chosen_org};
use crate::failure::Failure;
use crate::output::Table;

/// Entries read by one call.
const PAGE: usize = 200;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  audit\n  audit --app hello --since 24h\n  audit --actor ann@example.org --kind machine.\n  \
                  audit --org team --all --json"
)]
pub(crate) struct Audit {
    /// Slug of the organization
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    org: Option<String>,
    /// Only changes of this app, also of one that is gone
    #[arg(short, long, value_name = "NAME")]
    app: Option<String>,
    /// Only what this user did, by e-mail address; or `machine:ID`
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Only changes whose kind begins so, such as `machine.`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only changes of this last while, such as 24h, or since a time, such as 2026-11-28T08:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Also what the cloud did by itself
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let org = match (&self.org, &self.app) {
            (None, Some(app)) => org_of(&api, app).await?,
            (org, _) => chosen_org(context, &api, org.clone(), "--org").await?,
        };
        let mut filter = AuditFilter {
            app: self.app.clone(),
            actor: self.actor.clone(),
            kind: self.kind.clone(),
            since: self.since.as_deref().map(since).transpose()?,
            all: self.all,
            ..AuditFilter::default()
        };
        let mut table = Table::new(&["When", "Who", "What", "App", "Machine", "Request"])
            .optional(&["App", "Machine", "Request"]);
        let mut left = self.limit as usize;
        while left > 0 {
            filter.limit = left.min(PAGE);
            let (entries, next) = api.audit(&org, &filter).await?;
            for entry in &entries {
                match self.json.json {
                    true => context.out.json_line(entry)?,
                    false => table.row(row(entry).each_ref().map(String::as_str)),
                }
            }
            left = left.saturating_sub(entries.len());
            if entries.len() < filter.limit || next.is_none() {
                break;
            }
            filter.before = next;
        }
        match self.json.json {
            true => Ok(()),
            false => Ok(table.print(&context.out)?),
        }
    }
}

/// The organization of an app, or the first one that remembers an app of that name.
async fn org_of(api: &Api, app: &str) -> anyhow::Result<String> {
    let gone = match api.app(app).await {
        Ok(app) => return Ok(app.org_slug().to_owned()),
        Err(error) if error.status() == Some(404) => error,
        Err(error) => return Err(error.into()),
    };
    let once = AuditFilter {
        app: Some(app.to_owned()),
        limit: 1,
        ..AuditFilter::default()
    };
    for org in api.orgs().await? {
        match api.audit(org.slug(), &once).await {
            Ok(_) => return Ok(org.slug().to_owned()),
            Err(error) if matches!(error.status(), Some(403 | 404)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(gone.into())
}

fn row(entry: &Value) -> [String; 6] {
    ["at", "actor_name", "kind", "app", "machine_id", "cause"].map(|key| {
        let text = entry.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    })
}

/// A time as the API wants it, from a span or a time.
fn since(text: &str) -> anyhow::Result<String> {
    if let Ok(GoDuration(span)) = text.parse() {
        let span = SignedDuration::try_from(span)?;
        return Ok((Timestamp::now() - span).to_string());
    }
    match text.parse::<Timestamp>() {
        Ok(at) => Ok(at.to_string()),
        Err(_) => Err(Failure::new(format!(
            "--since {text}: neither a span such as 24h nor a time such as 2026-11-28T08:00:00Z"
        ))
        .into()),
    }
}

use clap::Args;
use serde_json::json;

use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::output::{Table, relative_time};

/// Releases shown unless `--limit` says otherwise.
const LIMIT: usize = 25;

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    /// Show the image of each release
    #[arg(long)]
    image: bool,
    /// Only print the number of the newest complete release, or with --image its image
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Show at most this many
    #[arg(long, value_name = "COUNT", default_value_t = LIMIT)]
    limit: usize,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let releases = context.api()?.releases(&app, self.limit).await?;
        if self.json.json {
            return Ok(context.out.json(&json!(releases))?);
        }
        if self.quiet {
            let live = releases.iter().find(|release| release.status == "complete");
            let live = live.ok_or_else(|| {
                Failure::new(format!(
                    "app {app} has no complete release among its newest {}",
                    self.limit
                ))
            })?;
            let line = match self.image {
                true => live.image_ref.clone(),
                false => format!("v{}", live.version),
            };
            return Ok(context.out.line(&line)?);
        }
        if releases.is_empty() {
            let line = format!("App {app} has no releases yet. `deploy` makes one.");
            return Ok(context.out.line(&line)?);
        }
        let headers = [
            "Version",
            "Status",
            "Description",
            "User",
            "Date",
            "Docker Image",
        ];
        let mut table = Table::new(&headers).rare(&["Docker Image"]);
        let now = context.now();
        for release in &releases {
            let date = release.created_at.map(|at| relative_time(at, now));
            table.row([
                &format!("v{}", release.version),
                &release.status,
                &release.description,
                &release.user.email,
                &date.unwrap_or_default(),
                if self.image { &release.image_ref } else { "" },
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

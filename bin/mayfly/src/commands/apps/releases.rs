use clap::Args;
use mayfly_types::Timestamp;
use serde_json::Value;

use crate::context::{AppFlags, Context, JsonFlag};
use crate::failure::Failure;
use crate::output::{Table, relative_time};

#[derive(Args, Debug)]
pub(crate) struct Releases {
    #[command(flatten)]
    app: AppFlags,
    /// Show the image of each release
    #[arg(long)]
    image: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Releases {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = self.app.require()?;
        let api = context.api()?;
        // A missing app and a cloud without releases both answer 404 below.
        api.app(&name).await?;
        let releases = api.releases(&name).await?.ok_or_else(|| {
            Failure::new("this cloud keeps no releases yet")
                .remedy("See what changed an app's machines with `events --app NAME`.")
        })?;
        if self.json.json {
            return Ok(context.out.json(&Value::from(releases))?);
        }
        if releases.is_empty() {
            return Ok(context
                .out
                .line(&format!("No releases of app {name} yet"))?);
        }
        let mut table = Table::new(&["Version", "Status", "User", "Date", "Docker Image"])
            .rare(&["Docker Image"]);
        let now = context.now();
        for release in &releases {
            let text = |key: &str| release.get(key).and_then(Value::as_str).unwrap_or_default();
            let version = release
                .get("version")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            let at = text("created_at").parse::<Timestamp>();
            let date = at.map(|at| relative_time(at, now)).unwrap_or_default();
            let image = if self.image { text("image_ref") } else { "" };
            table.row([
                &format!("v{version}"),
                text("status"),
                text("user"),
                &date,
                image,
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

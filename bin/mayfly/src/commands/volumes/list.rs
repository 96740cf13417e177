use clap::Args;
use serde_json::json;

use super::is_usable;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    /// Also those that were destroyed and whose data is still there
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: JsonFlag,
}

const HEADERS: [&str; 9] = [
    "ID",
    "State",
    "Name",
    "Size",
    "Region",
    "Zone",
    "Encrypted",
    "Attached VM",
    "Created At",
];

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let mut volumes = context.api()?.volumes(&app).await?;
        volumes.retain(|volume| self.all || is_usable(volume));
        volumes.sort_by_key(|volume| volume.created_at);
        let out = &context.out;
        if self.json.json {
            return Ok(out.json(&json!(volumes))?);
        }
        let now = context.now();
        let mut table = Table::new(&HEADERS).optional(&["Zone", "Encrypted", "Created At"]);
        for volume in &volumes {
            let is_away = volume.host_status != "ok";
            let created_at = volume.created_at.map(|at| relative_time(at, now));
            table.row([
                &format!("{}{}", volume.id, if is_away { "*" } else { "" }),
                &volume.state,
                &volume.name,
                &format!("{}GB", volume.size_gb),
                &volume.region,
                &volume.zone,
                &volume.encrypted.to_string(),
                volume.attached_machine_id.as_deref().unwrap_or_default(),
                &created_at.unwrap_or_default(),
            ]);
        }
        table.print(out)?;
        if volumes.iter().any(|volume| volume.host_status != "ok") {
            out.line("* These volumes' hosts could not be reached.")?;
        }
        Ok(())
    }
}

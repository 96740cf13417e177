use clap::Args;
use serde_json::json;

use super::{OneVolume, describe};
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  volumes extend vol_abc --size 20\n  volumes extend vol_abc --size +5"
)]
pub(crate) struct Extend {
    #[command(flatten)]
    volume: OneVolume,
    /// Size it shall have in GB, or what is added to it, as +5
    #[arg(short, long, value_name = "GB")]
    size: String,
    /// Do not ask
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Extend {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let (app, id) = self.volume.find(context, &api).await?;
        let (added, given) = match self.size.strip_prefix('+') {
            Some(given) => (true, given),
            None => (false, self.size.as_str()),
        };
        let given = given.trim_end_matches("gb").trim_end_matches("GB");
        let wanted: i64 = given.parse().map_err(|_| {
            Failure::new(format!("--size {}: is no number of GB", self.size))
                .remedy("Give the size it shall have, as 20, or what is added to it, as +5.")
        })?;
        let size_gb = match added {
            true => i64::from(api.volume(&app, &id).await?.size_gb) + wanted,
            false => wanted,
        };
        let question = format!("Extend volume {id} to {size_gb} GB? It cannot get smaller again.");
        if !self.yes && context.out.can_ask() && !context.out.confirm(&question)? {
            return Ok(());
        }
        let extended = api.extend_volume(&app, &id, size_gb).await?;
        if self.json.json {
            return Ok(context.out.json(&json!(extended.volume))?);
        }
        describe(context, &app, &extended.volume)?;
        let machine = extended.volume.attached_machine_id.unwrap_or_default();
        if extended.needs_restart {
            context.out.note(&format!(
                "Machine {machine} sees the new size after a restart: `machine restart {machine}`."
            ));
        } else if !machine.is_empty() {
            context
                .out
                .note("The machine sees the new size; it need not be restarted.");
        }
        Ok(())
    }
}

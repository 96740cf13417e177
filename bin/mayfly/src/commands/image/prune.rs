use clap::Args;
use serde_json::Value;

use crate::context::{Context, JsonFlag};

use super::{amount, count};

#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let question = "Remove all images that no machine and no release needs?";
        if !self.yes && !context.out.confirm(question)? {
            return Ok(());
        }
        let pruned = api.prune_images().await?;
        if self.json.json {
            return Ok(context.out.json(&pruned)?);
        }
        let images = pruned.get("images").and_then(Value::as_array);
        let images: Vec<&str> = images
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for image in &images {
            context.out.line(&format!("Removed {image}"))?;
        }
        let (layers, freed) = (
            count(&pruned, "layers"),
            amount(count(&pruned, "freed_bytes")),
        );
        let line = format!(
            "{} images and {layers} layers removed, {freed} freed",
            images.len()
        );
        Ok(context.out.line(&line)?)
    }
}

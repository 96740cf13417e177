use clap::Args;
use mayfly_types::Timestamp;
use serde_json::Value;

use crate::context::{Context, JsonFlag};
use crate::output::{Table, relative_time};

use super::{amount, count, short_digest, short_name, text};

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only print names with digests
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let images = context.api()?.images().await?;
        if self.json.json {
            return Ok(context.out.json(&Value::from(images))?);
        }
        if self.quiet {
            let names: String = images
                .iter()
                .map(|image| format!("{}\n", text(image, "image")))
                .collect();
            return Ok(context.out.text(&names)?);
        }
        if images.is_empty() {
            return Ok(context.out.line("No images found")?);
        }
        let mut table = Table::new(&["Image", "Digest", "Size", "Layers", "Created", "Machines"])
            .optional(&["Layers", "Created", "Digest"]);
        for image in &images {
            let created = text(image, "created_at").parse::<Timestamp>();
            let created = created
                .map(|at| relative_time(at, context.now()))
                .unwrap_or_default();
            table.row([
                short_name(image),
                short_digest(text(image, "digest")),
                &amount(count(image, "size_bytes")),
                &count(image, "layers").to_string(),
                &created,
                &count(image, "used_by").to_string(),
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

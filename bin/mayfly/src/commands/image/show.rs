use clap::Args;
use serde_json::Value;

use crate::context::{Context, JsonFlag};
use crate::output::{Table, fields};

use super::{amount, count, text};

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Name of the image, with or without digest
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    json: JsonFlag,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let image = context.api()?.image(&self.image).await?;
        if self.json.json {
            return Ok(context.out.json(&image)?);
        }
        let size = amount(count(&image, "size_bytes"));
        let [layers, machines] = ["layers", "used_by"].map(|key| count(&image, key).to_string());
        let pairs = [
            ("Name", text(&image, "image")),
            ("Digest", text(&image, "digest")),
            ("Architecture", text(&image, "architecture")),
            ("Size", &size),
            ("Layers", &layers),
            ("Created", text(&image, "created_at")),
            ("Machines", &machines),
        ];
        fields(&context.out, "Image", &pairs)?;
        let Some(Value::Object(labels)) = image
            .get("labels")
            .filter(|labels| **labels != Value::Object(Default::default()))
        else {
            return Ok(());
        };
        let mut table = Table::new(&["Label", "Value"]).title("Labels");
        for (name, value) in labels {
            table.row([name, value.as_str().unwrap_or_default()]);
        }
        Ok(table.print(&context.out)?)
    }
}

use clap::Args;
use serde_json::Value;

use crate::client::Machine;
use crate::commands::machine::select::{is_id, one};
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, fields};

use super::{amount, count, text};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  image show --app my-app\n  image show 3d8d7a11c9e581\n  image show node:20-slim"
)]
pub(crate) struct Show {
    /// Id of a machine, or name of an image, with or without digest; without it, the machines of the app
    #[arg(value_name = "MACHINE|IMAGE")]
    what: Option<String>,
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        match self.what.as_deref() {
            None => {
                let app = self.app.require()?;
                let machines = api.machines(&app, false).await?;
                self.show_machines(context, &machines)
            }
            Some(id) if is_id(id) => {
                let selected = one(context, &api, &self.app, Some(id)).await?;
                self.show_machines(context, &[selected.machine])
            }
            Some(name) => {
                let image = api.image(name).await?;
                self.show_image(context, &image)
            }
        }
    }

    fn show_machines(&self, context: &Context, machines: &[Machine]) -> anyhow::Result<()> {
        if self.json.json {
            let all = machines.iter().map(|machine| {
                let mut image = machine.image_ref().clone();
                image["machine_id"] = Value::from(machine.id());
                image
            });
            return Ok(context.out.json(&all.collect())?);
        }
        if machines.is_empty() {
            return Ok(context.out.line("No machines found")?);
        }
        let titles = [
            "Machine ID",
            "Registry",
            "Repository",
            "Tag",
            "Digest",
            "Labels",
        ];
        let mut table = Table::new(&titles).optional(&["Labels"]);
        for machine in machines {
            let image = machine.image_ref();
            let labels = image.get("labels").and_then(Value::as_object);
            let labels = labels.into_iter().flatten();
            let labels: Vec<String> = labels
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect();
            let part = |key| text(image, key);
            table.row([
                machine.id(),
                part("registry"),
                part("repository"),
                part("tag"),
                part("digest"),
                &labels.join(" "),
            ]);
        }
        Ok(table.print(&context.out)?)
    }

    fn show_image(&self, context: &Context, image: &Value) -> anyhow::Result<()> {
        if self.json.json {
            return Ok(context.out.json(image)?);
        }
        let size = amount(count(image, "size_bytes"));
        let [layers, machines] = ["layers", "used_by"].map(|key| count(image, key).to_string());
        let pairs = [
            ("Name", text(image, "image")),
            ("Digest", text(image, "digest")),
            ("Architecture", text(image, "architecture")),
            ("Size", &size),
            ("Layers", &layers),
            ("Created", text(image, "created_at")),
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

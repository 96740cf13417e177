use clap::Args;
use serde_json::{Value, json};

use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct Private {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Private {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let mut machines = context.api()?.machines(&app, false).await?;
        machines.retain(|machine| !machine.private_ip().is_empty());
        if self.json.json {
            let documents: Vec<Value> = machines
                .iter()
                .map(|machine| {
                    json!({
                        "ID": machine.id(),
                        "Region": machine.region(),
                        "PrivateIP": machine.private_ip(),
                    })
                })
                .collect();
            return Ok(context.out.json(&Value::from(documents))?);
        }
        let mut table = Table::new(&["ID", "Region", "IP"]);
        for machine in &machines {
            table.row([machine.id(), machine.region(), machine.private_ip()]);
        }
        Ok(table.print(&context.out)?)
    }
}

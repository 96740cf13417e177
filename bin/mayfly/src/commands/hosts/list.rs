use clap::Args;
use mayfly_wire::FleetHost;

use crate::context::{Context, JsonFlag};
use crate::output::{Table, relative_time};

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let hosts = context.api()?.hosts().await?;
        if self.json.json {
            return Ok(context.out.json(&hosts)?);
        }
        let hosts: Vec<FleetHost> = serde_json::from_value(hosts)?;
        let headers = [
            "ID", "Region", "State", "Since", "Machines", "Running", "Memory", "Address",
        ];
        let mut table = Table::new(&headers).optional(&["Address"]);
        for host in &hosts {
            table.row([
                &host.id,
                &host.region,
                &state(host),
                &since(context, &host.since),
                &host.machines.to_string(),
                &host.running.to_string(),
                &format!("{} MB", host.memory_mib),
                host.address.as_deref().unwrap_or_default(),
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

pub(super) fn state(host: &FleetHost) -> String {
    match (host.draining, host.cordoned) {
        (true, _) => format!("{}, draining", host.state),
        (false, true) => format!("{}, cordoned", host.state),
        (false, false) => host.state.clone(),
    }
}

pub(super) fn since(context: &Context, text: &str) -> String {
    let at = text.parse();
    at.map_or_else(|_| text.to_owned(), |at| relative_time(at, context.now()))
}

use clap::Args;
use mayfly_wire::FleetHost;

use super::list::{since, state};
use crate::context::{Context, JsonFlag};
use crate::output::fields;

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The host's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    json: JsonFlag,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let host = context.api()?.host(&self.id).await?;
        if self.json.json {
            return Ok(context.out.json(&host)?);
        }
        let host: FleetHost = serde_json::from_value(host)?;
        let state = format!("{} since {}", state(&host), since(context, &host.since));
        let machines = format!("{}, {} of them running", host.machines, host.running);
        let control = if host.control {
            "the server with the control plane"
        } else {
            "a server that joined"
        };
        Ok(fields(
            &context.out,
            &format!("Host {}", host.id),
            &[
                ("Region", &host.region),
                ("State", &state),
                ("Last answer", &since(context, &host.seen_at)),
                ("On", control),
                ("Server", host.server.as_deref().unwrap_or("this one")),
                ("Address", host.address.as_deref().unwrap_or("none")),
                ("Machines", &machines),
                ("Memory", &format!("{} MB", host.memory_mib)),
                ("CPUs", &host.cpus.to_string()),
                ("Joined", &since(context, &host.joined_at)),
            ],
        )?)
    }
}

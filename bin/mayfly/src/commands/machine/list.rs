use clap::Args;
use serde_json::Value;

use crate::client::Machine;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    /// Only print machine ids
    #[arg(short, long)]
    quiet: bool,
    /// Show destroyed machines too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: JsonFlag,
}

const HEADERS: [&str; 13] = [
    "ID",
    "Name",
    "State",
    "Checks",
    "Region",
    "Role",
    "Image",
    "IP Address",
    "Volume",
    "Created",
    "Last Updated",
    "Process Group",
    "Size",
];

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let machines = context.api()?.machines(&app, self.all).await?;
        let out = &context.out;
        if self.json.json {
            let documents: Vec<Value> = machines.into_iter().map(Machine::into_document).collect();
            return Ok(out.json(&Value::from(documents))?);
        }
        if self.quiet {
            let ids: String = machines
                .iter()
                .map(|machine| format!("{}\n", machine.id()))
                .collect();
            return Ok(out.text(&ids)?);
        }
        if machines.is_empty() {
            return Ok(out.line(&format!("No machines are available on this app {app}"))?);
        }
        let count = machines.len();
        out.line(&format!(
            "{count} machines have been retrieved from app {app}.\n"
        ))?;
        let mut table = Table::new(&HEADERS).title(&app).optional(&[
            "IP Address",
            "Created",
            "Image",
            "Size",
            "Volume",
            "Last Updated",
            "Role",
            "Process Group",
            "Checks",
        ]);
        for machine in &machines {
            let row = row(machine);
            table.row(row.each_ref().map(String::as_str));
        }
        table.print(out)?;
        if machines.iter().any(|machine| !machine.is_reachable()) {
            out.line("* These Machines' hosts could not be reached.")?;
        }
        Ok(())
    }
}

/// A machine whose host is away shows only what is certain.
fn row(machine: &Machine) -> [String; 13] {
    let reachable = machine.is_reachable();
    let current = |text: &str| {
        if reachable {
            text.to_owned()
        } else {
            String::new()
        }
    };
    let checks = machine.checks();
    let role = checks.iter().find(|[name, ..]| *name == "role");
    [
        format!("{}{}", machine.id(), if reachable { "" } else { "*" }),
        machine.name().to_owned(),
        machine.state().to_owned(),
        current(&machine.check_counts().fraction()),
        machine.region().to_owned(),
        role.map_or_else(String::new, |[.., output]| (*output).to_owned()),
        current(&machine.image()),
        current(machine.private_ip()),
        machine.volume().to_owned(),
        current(machine.created_at()),
        current(machine.updated_at()),
        machine.process_group().to_owned(),
        machine.size(),
    ]
}

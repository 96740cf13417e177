use clap::Args;

use crate::client::Machine;
use crate::context::{Context, JsonFlag};
use crate::output::{Table, fields, relative_time};

use super::select::OneMachine;

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    machine: OneMachine,
    /// Print only the machine's configuration, as JSON
    #[arg(short, long)]
    display_config: bool,
    /// Print only the machine's checks
    #[arg(long, conflicts_with = "display_config")]
    display_checks: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let machine = self.machine.select(context, &api).await?.machine;
        let out = &context.out;
        if self.display_config {
            return Ok(out.json(machine.config())?);
        }
        if self.json.json {
            return Ok(out.json(machine.document())?);
        }
        if self.display_checks {
            return checks(context, &machine);
        }
        let (id, instance) = (machine.id(), machine.instance_id());
        let (state, host) = (machine.state(), machine.host_status());
        out.line(&format!(
            "Machine ID: {id}\nInstance ID: {instance}\nState: {state}\nHostStatus: {host}\n"
        ))?;
        details(context, &machine)?;
        if !machine.checks().is_empty() {
            checks(context, &machine)?;
        }
        events(context, &machine)
    }
}

fn details(context: &Context, machine: &Machine) -> anyhow::Result<()> {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let (cpus, memory) = (number(machine.cpus()), number(machine.memory_mib()));
    let image = machine.image();
    let (entrypoint, command) = (machine.init_words("entrypoint"), machine.init_words("cmd"));
    let mut pairs = vec![
        ("ID", machine.id()),
        ("Instance ID", machine.instance_id()),
        ("State", machine.state()),
        ("Image", &image),
        ("Name", machine.name()),
        ("Private IP", machine.private_ip()),
        ("Region", machine.region()),
        ("Process Group", machine.process_group()),
        ("CPU Kind", machine.cpu_kind()),
        ("vCPUs", &cpus),
        ("Memory", &memory),
        ("Created", machine.created_at()),
        ("Updated", machine.updated_at()),
        ("Entrypoint", &entrypoint),
        ("Command", &command),
    ];
    if !machine.volume().is_empty() {
        pairs.push(("Volume", machine.volume()));
    }
    Ok(fields(&context.out, "VM", &pairs)?)
}

fn checks(context: &Context, machine: &Machine) -> anyhow::Result<()> {
    let title = format!("Checks [{}]", machine.check_counts().fraction());
    let mut table = Table::new(&["Name", "Status", "Last Updated", "Output"]).title(&title);
    for [name, status, updated_at, output] in machine.checks() {
        let updated_at = updated_at.parse().map_or_else(
            |_| updated_at.to_owned(),
            |at| relative_time(at, context.now()),
        );
        table.row([name, status, &updated_at, output]);
    }
    Ok(table.print(&context.out)?)
}

fn events(context: &Context, machine: &Machine) -> anyhow::Result<()> {
    let mut table =
        Table::new(&["State", "Event", "Source", "Timestamp", "Info"]).title("Event Logs");
    for event in machine.events() {
        let (at, note) = (event.at(), event.exit_note());
        table.row([event.status(), event.kind(), event.source(), &at, &note]);
    }
    Ok(table.print(&context.out)?)
}

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use crate::client::Machine;
use crate::commands::autoscale;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::Table;

#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let machines = context.api()?.machines(&app, false).await?;
        let mut groups: BTreeMap<&str, Vec<&Machine>> = BTreeMap::new();
        // What `scale count` counts.
        let counted = |machine: &&Machine| machine.is_managed() && machine.standbys().is_empty();
        for machine in machines.iter().filter(counted) {
            groups
                .entry(machine.process_group())
                .or_default()
                .push(machine);
        }
        if self.json.json {
            let shown: Vec<Value> = groups.iter().map(|(name, of)| document(name, of)).collect();
            return Ok(context.out.json(&Value::from(shown))?);
        }
        context
            .out
            .line(&format!("VM Resources for app: {app}\n"))?;
        let mut table =
            Table::new(&["Name", "Count", "Kind", "CPUs", "Memory", "Regions"]).title("Groups");
        for (name, of) in &groups {
            let shown = document(name, of);
            let regions: Vec<String> = regions(of)
                .into_iter()
                .map(|(region, count)| match count {
                    1 => region.to_owned(),
                    count => format!("{region}({count})"),
                })
                .collect();
            table.row([
                name,
                &shown["Count"].to_string(),
                shown["CPUKind"].as_str().unwrap_or_default(),
                &shown["CPUs"].to_string(),
                &format!("{} MB", shown["Memory"]),
                &regions.join(","),
            ]);
        }
        table.print(&context.out)?;
        for line in autoscale::lines(&context.api()?.autoscale(&app).await?) {
            context.out.line(&line)?;
        }
        Ok(())
    }
}

fn regions<'a>(machines: &[&'a Machine]) -> BTreeMap<&'a str, usize> {
    let mut regions = BTreeMap::new();
    for machine in machines {
        *regions.entry(machine.region()).or_default() += 1;
    }
    regions
}

/// The keys are upstream's. Machines of a group are mostly of one size: the first one's is shown.
fn document(name: &str, machines: &[&Machine]) -> Value {
    let first = machines.first();
    json!({
        "Process": name,
        "Count": machines.len(),
        "CPUKind": first.map(|machine| machine.cpu_kind()),
        "CPUs": first.and_then(|machine| machine.cpus()),
        "Memory": first.and_then(|machine| machine.memory_mib()),
        "Regions": regions(machines),
    })
}

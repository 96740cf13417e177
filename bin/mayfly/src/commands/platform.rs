use clap::{Args, Subcommand};
use mayfly_machine::{CpuKind, GuestSize};
use serde_json::{Map, Value, json};

use crate::context::{Context, JsonFlag};
use crate::output::Table;

#[derive(Subcommand, Debug)]
pub(crate) enum PlatformCommand {
    /// List the regions of the cloud
    Regions(Regions),
    /// List the sizes machines come in
    VmSizes(VmSizes),
}

#[derive(Args, Debug)]
pub(crate) struct Regions {
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Args, Debug)]
pub(crate) struct VmSizes {
    #[command(flatten)]
    json: JsonFlag,
}

impl PlatformCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            PlatformCommand::Regions(command) => command.run(context).await,
            PlatformCommand::VmSizes(command) => command.run(context),
        }
    }
}

impl Regions {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut answer = context.api()?.regions().await?;
        let listed =
            ["Regions", "regions"]
                .into_iter()
                .find_map(|key| match answer.get_mut(key)?.take() {
                    Value::Array(regions) => Some(regions),
                    _ => None,
                });
        let text = |region: &Value, key: &str| match region.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(true)) => "✓".to_owned(),
            _ => String::new(),
        };
        let mut regions = listed.unwrap_or_default();
        regions.retain(|region| region.get("deprecated") != Some(&Value::from(true)));
        regions.sort_by_key(|region| text(region, "name"));
        if self.json.json {
            return Ok(context.out.json(&Value::from(regions))?);
        }
        let mut table =
            Table::new(&["Name", "Code", "Gateway", "Capacity"]).optional(&["Capacity", "Gateway"]);
        for region in &regions {
            let [name, code, gateway, capacity] =
                ["name", "code", "gateway_available", "capacity"].map(|key| text(region, key));
            table.row([&name, &code, &gateway, &capacity]);
        }
        Ok(table.print(&context.out)?)
    }
}

impl VmSizes {
    /// The sizes are rules of the platform, known without asking it.
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut sizes: Vec<(String, GuestSize)> = GuestSize::presets().collect();
        sizes.sort_by_key(|(_, size)| (size.cpus, size.memory_mib));
        if self.json.json {
            let by_name: Map<String, Value> = sizes
                .into_iter()
                .map(|(name, size)| {
                    let guest = json!({
                        "cpu_kind": size.cpu_kind.as_str(),
                        "cpus": size.cpus,
                        "memory_mb": size.memory_mib,
                    });
                    (name, guest)
                })
                .collect();
            return Ok(context.out.json(&Value::from(by_name))?);
        }
        for (kind, title) in [
            (CpuKind::Shared, "Machines platform"),
            (CpuKind::Performance, ""),
        ] {
            let mut table = Table::new(&["Name", "CPU Cores", "Memory"]).title(title);
            for (name, size) in sizes.iter().filter(|(_, size)| size.cpu_kind == kind) {
                table.row([
                    name,
                    &size.cpus.to_string(),
                    &format!("{} MB", size.memory_mib),
                ]);
            }
            table.print(&context.out)?;
        }
        Ok(())
    }
}

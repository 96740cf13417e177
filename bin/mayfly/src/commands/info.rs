use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};

use crate::client::Machine;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Table, fields};

#[derive(Args, Debug)]
pub(crate) struct Info {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Info {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = self.app.require()?;
        let api = context.api()?;
        let app = api.app(&name).await?;
        let machines = api.machines(&name, false).await?;
        let services: BTreeSet<[String; 3]> = machines.iter().flat_map(services).collect();
        if self.json.json {
            let services: Vec<Value> = services
                .iter()
                .map(|[protocol, ports, handlers]| {
                    json!({ "Protocol": protocol, "Ports": ports, "Handlers": handlers })
                })
                .collect();
            let addresses: Vec<&str> = machines.iter().map(Machine::private_ip).collect();
            let mut document = super::apps::list_document(&app);
            document["Services"] = Value::from(services);
            document["PrivateAddresses"] = Value::from(addresses);
            return Ok(context.out.json(&document)?);
        }
        let pairs = [
            ("Name", app.name()),
            ("Owner", app.org_slug()),
            ("Status", app.status()),
            ("Platform", "machines"),
            ("Hostname", app.hostname().unwrap_or("-")),
        ];
        fields(&context.out, "App", &pairs)?;
        let mut table = Table::new(&["Protocol", "Ports", "Handlers"]).title("Services");
        for [protocol, ports, handlers] in &services {
            table.row([protocol, ports, handlers]);
        }
        table.print(&context.out)?;
        let mut table = Table::new(&["Type", "Address", "Region", "Machine"]).title("IP Addresses");
        for machine in &machines {
            table.row([
                "private",
                machine.private_ip(),
                machine.region(),
                machine.id(),
            ]);
        }
        Ok(table.print(&context.out)?)
    }
}

/// Protocol, `external => internal` and handlers of each port of a machine.
fn services(machine: &Machine) -> Vec<[String; 3]> {
    let list = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut rows = Vec::new();
    for service in list(machine.config(), "services") {
        let protocol = service
            .get("protocol")
            .and_then(Value::as_str)
            .unwrap_or("tcp");
        let internal = service
            .get("internal_port")
            .map(Value::to_string)
            .unwrap_or_default();
        for port in list(&service, "ports") {
            let number = |key: &str| {
                port.get(key)
                    .filter(|port| port.is_u64())
                    .map(Value::to_string)
            };
            let external = number("port").unwrap_or_else(|| {
                let end = |key| number(key).unwrap_or_default();
                format!("{}-{}", end("start_port"), end("end_port"))
            });
            let handlers: Vec<String> = list(&port, "handlers")
                .iter()
                .filter_map(|handler| Some(handler.as_str()?.to_uppercase()))
                .collect();
            rows.push([
                protocol.to_uppercase(),
                format!("{external} => {internal}"),
                handlers.join(","),
            ]);
        }
    }
    rows
}

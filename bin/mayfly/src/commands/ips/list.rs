use clap::Args;
use serde_json::{Value, json};

use crate::client::Ip;
use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::{Output, Table, relative_time};

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let ips = context.api()?.ips(&app).await?;
        if self.json.json {
            let documents: Vec<Value> = ips.iter().map(document).collect();
            return Ok(context.out.json(&Value::from(documents))?);
        }
        print(context, &ips)
    }
}

/// Addresses as a table: upstream's columns and words.
pub(super) fn print(context: &Context, ips: &[Ip]) -> anyhow::Result<()> {
    let out: &Output = &context.out;
    if ips.is_empty() {
        return Ok(out.line("No IP addresses are allocated to this app.")?);
    }
    let headers = ["Version", "IP", "Type", "Region", "Network", "Created At"];
    let mut table = Table::new(&headers)
        .optional(&["Network", "Created At"])
        .rare(&["Network"]);
    for ip in ips {
        let created = ip.created_at().parse();
        let created = created.map_or_else(
            |_| ip.created_at().to_owned(),
            |at| relative_time(at, context.now()),
        );
        let network = ip
            .network()
            .map_or_else(String::new, |[name, org]| format!("{org}/{name}"));
        let (version, reach) = words(ip.kind());
        table.row([
            version,
            ip.address(),
            reach,
            ip.region(),
            &network,
            &created,
        ]);
    }
    Ok(table.print(out)?)
}

fn words(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "v4" => ("v4", "public (dedicated)"),
        "shared_v4" => ("v4", "public (shared)"),
        "private_v6" => ("v6", "private"),
        "egress_v4" => ("v4", "egress"),
        "egress_v6" => ("v6", "egress"),
        _ => ("v6", "public (dedicated)"),
    }
}

/// The address under upstream's names.
fn document(ip: &Ip) -> Value {
    let network = ip
        .network()
        .map(|[name, org]| json!({ "Name": name, "Organization": { "Slug": org } }));
    json!({
        "Address": ip.address(),
        "Type": ip.kind(),
        "Region": ip.region(),
        "CreatedAt": ip.created_at(),
        "ServiceName": ip.service_name(),
        "Network": network,
    })
}

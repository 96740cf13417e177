//! `status` without an app: how the cloud itself is.

use serde_json::Value;

use crate::context::{Context, JsonFlag};
use crate::output::{Table, fields};

/// The hosts of a cloud with several, each with the address of its region's edge.
fn hosts(context: &Context, status: &Value) -> anyhow::Result<()> {
    let list = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let (hosts, edges) = (list("hosts"), list("edges"));
    if hosts.len() < 2 {
        return Ok(());
    }
    let mut table =
        Table::new(&["Region", "Host", "Machines", "Running", "Apps at"]).title("Hosts");
    for host in &hosts {
        let cell = |key: &str| match &host[key] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let edge = edges.iter().find(|edge| edge["region"] == host["region"]);
        let address = edge
            .and_then(|edge| edge["address"].as_str())
            .unwrap_or_default();
        table.row([
            cell("region").as_str(),
            &cell("host_id"),
            &cell("machines"),
            &cell("running"),
            address,
        ]);
    }
    Ok(table.print(&context.out)?)
}

pub(crate) async fn run(context: &Context, json: JsonFlag) -> anyhow::Result<()> {
    let status = context.api()?.cloud_status().await?;
    if json.json {
        return Ok(context.out.json(&status)?);
    }
    let endpoints = context.endpoints()?;
    let text = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let memory = format!("{} MB", text("/host/memory_mib"));
    let running: u64 = match &status["hosts"] {
        Value::Array(hosts) => hosts
            .iter()
            .filter_map(|host| host["running"].as_u64())
            .sum(),
        _ => status["host"]["running"].as_u64().unwrap_or(0),
    };
    let machines = format!("{} ({running} running)", text("/machines"));
    let pairs = [
        ("Address", endpoints.machines.as_str()),
        ("Version", &text("/version")),
        ("Region", &text("/host/region")),
        ("Host", &text("/host/host_id")),
        ("CPUs", &text("/host/cpus")),
        ("Memory", &memory),
        ("Cgroups", &text("/host/cgroups")),
        ("WireGuard", &text("/gateways/0/wireguard")),
        ("Apps", &text("/apps")),
        ("Machines", &machines),
    ];
    fields(&context.out, "Cloud", &pairs)?;
    hosts(context, &status)?;
    let Some(Value::Object(loops)) = status.get("loops") else {
        return Ok(());
    };
    let mut table = Table::new(&["Loop", "Ran at", "Waiting", "Last error"]).title("Loops");
    for (name, state) in loops {
        let cell = |key: &str| match state.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        table.row([name, &cell("ran_at"), &cell("waiting"), &cell("last_error")]);
    }
    Ok(table.print(&context.out)?)
}

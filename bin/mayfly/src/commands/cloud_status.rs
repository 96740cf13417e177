//! `status` without an app: how the cloud itself is.

use serde_json::Value;

use crate::context::{Context, JsonFlag};
use crate::output::{Table, fields};

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
    let machines = format!("{} ({} running)", text("/machines"), text("/host/running"));
    let pairs = [
        ("Address", endpoints.machines.as_str()),
        ("Version", &text("/version")),
        ("Region", &text("/host/region")),
        ("Host", &text("/host/host_id")),
        ("CPUs", &text("/host/cpus")),
        ("Memory", &memory),
        ("Cgroups", &text("/host/cgroups")),
        ("Apps", &text("/apps")),
        ("Machines", &machines),
    ];
    fields(&context.out, "Cloud", &pairs)?;
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

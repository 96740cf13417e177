use clap::Args;
use serde_json::Value;

use crate::context::{Context, JsonFlag};
use crate::output::{Table, fields};

use super::select::OneMachine;

#[derive(Args, Debug)]
pub(crate) struct Schedule {
    #[command(flatten)]
    machine: OneMachine,
    #[command(flatten)]
    json: JsonFlag,
}

impl Schedule {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let selected = self.machine.select(context, &api).await?;
        let id = selected.machine.id();
        let answer = api.schedule(&selected.app, id).await?;
        if self.json.json {
            return Ok(context.out.json(&answer)?);
        }
        let text = |value: &Value, key: &str| match value.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let when = text(&answer, "schedule");
        if when.is_empty() {
            return Ok(context.out.line(&format!("Machine {id} has no schedule"))?);
        }
        let next = text(&answer, "next_at");
        fields(
            &context.out,
            "Schedule",
            &[("Machine", id), ("Schedule", &when), ("Next run", &next)],
        )?;
        let mut table =
            Table::new(&["Due", "Started", "Ended", "Exit Code", "Outcome"]).title("Runs");
        for run in answer
            .get("runs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let [due, started, ended, code, outcome] =
                ["due_at", "started_at", "ended_at", "exit_code", "outcome"]
                    .map(|key| text(run, key));
            table.row([&due, &started, &ended, &code, &outcome]);
        }
        Ok(table.print(&context.out)?)
    }
}

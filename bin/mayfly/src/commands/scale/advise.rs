use clap::Args;
use mayfly_wire::SizeAdvice;
use serde_json::{Value, json};

use crate::context::{AppFlags, Context, JsonFlag};
use crate::output::Table;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  scale advise\n  scale advise -a shop --json")]
pub(crate) struct Advise {
    #[command(flatten)]
    app: AppFlags,
    #[command(flatten)]
    json: JsonFlag,
}

impl Advise {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let advice = context.api()?.size_advice(&app).await?;
        if self.json.json {
            let shown: Vec<Value> = advice
                .iter()
                .map(|group| {
                    let mut shown = json!(group);
                    shown["command"] = json!(command(&app, group));
                    shown
                })
                .collect();
            return Ok(context.out.json(&Value::from(shown))?);
        }
        if advice.is_empty() {
            return Ok(context
                .out
                .line("No machines of a process group: there is nothing to advise")?);
        }
        let mut table = Table::new(&[
            "Group", "Size", "Memory", "Peak", "CPU avg", "CPU p95", "Advice",
        ]);
        for group in &advice {
            let measured = |text: String| match group.measured_seconds {
                0 => "-".to_owned(),
                _ => text,
            };
            let percent = |millis: u32| measured(format!("{}%", millis.div_ceil(10)));
            table.row([
                &group.process_group,
                &group.size,
                &format!("{} MB", group.memory_mb),
                &measured(format!("{} MB", group.memory_used_mb.peak)),
                &percent(group.cpu_used_millis.mean),
                &percent(group.cpu_used_millis.p95),
                &verdict(group),
            ]);
        }
        table.print(&context.out)?;
        for group in &advice {
            let mut said = format!("{}: {}", group.process_group, group.reasons.join("; "));
            if group.unheard > 0 {
                said.push_str(&format!(
                    "; {} of {} machines are on servers that do not answer",
                    group.unheard, group.machines
                ));
            }
            context.out.line(&said)?;
        }
        let commands: Vec<String> = advice
            .iter()
            .filter_map(|group| command(&app, group))
            .collect();
        if !commands.is_empty() {
            context.out.line("\nTo follow it:")?;
            for command in commands {
                context.out.line(&format!("  {command}"))?;
            }
        }
        Ok(())
    }
}

fn verdict(group: &SizeAdvice) -> String {
    match &group.advised {
        Some(advised) => format!("{}, {} MB", advised.size, advised.memory_mb),
        None if group.verdict == "wait" => "not enough measurements yet".to_owned(),
        None => "stay".to_owned(),
    }
}

fn command(app: &str, group: &SizeAdvice) -> Option<String> {
    let advised = group.advised.as_ref()?;
    Some(format!(
        "mayfly scale vm {} --vm-memory {} -g {} -a {app}",
        advised.size, advised.memory_mb, group.process_group
    ))
}

use clap::Args;
use serde_json::Value;

use crate::client::EventFilter;
use crate::context::{Context, JsonFlag};
use crate::output::Table;

/// Events read by one call.
const PAGE_EVENTS: usize = 500;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  events --app hello\n  events --json\n  events --after 1200 --limit 50"
)]
pub(crate) struct Events {
    /// Only events of this app
    #[arg(short, long, value_name = "NAME")]
    app: Option<String>,
    /// Only events of this machine
    #[arg(short, long, value_name = "ID")]
    machine: Option<String>,
    /// Begin after this event
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Print what there is and exit, instead of following
    #[arg(short, long)]
    no_tail: bool,
    /// Print at most this many and exit
    #[arg(short, long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let mut filter = EventFilter {
            after: self.after,
            limit: None,
            wait: None,
            app: self.app.clone(),
            machine: self.machine.clone(),
        };
        if !self.no_tail && self.limit.is_none() {
            let mut stream = api.follow_events(&filter).await?;
            while let Some(event) = stream.next().await? {
                if self.json.json {
                    context.out.json_line(&event)?;
                } else {
                    context.out.line(&row(&event).join("  "))?;
                }
            }
            return Ok(());
        }
        let mut table = Table::new(&["Seq", "At", "Kind", "App", "Machine", "Actor", "Cause"])
            .optional(&["Cause", "Actor", "App"]);
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0 {
            filter.limit = Some(left.min(PAGE_EVENTS));
            let (events, next) = api.events(&filter).await?;
            if events.is_empty() {
                break;
            }
            left = left.saturating_sub(events.len());
            for event in &events {
                if self.json.json {
                    context.out.json_line(event)?;
                } else {
                    table.row(row(event).each_ref().map(String::as_str));
                }
            }
            let last = events.last().and_then(|event| event.get("seq")?.as_u64());
            let reached = next.or(last);
            if reached <= filter.after {
                break;
            }
            filter.after = reached;
        }
        if self.json.json {
            return Ok(());
        }
        Ok(table.print(&context.out)?)
    }
}

fn row(event: &Value) -> [String; 7] {
    ["seq", "at", "kind", "app", "machine_id", "actor", "cause"].map(|key| match event.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    })
}

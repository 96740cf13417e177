use clap::Args;
use serde_json::Value;

use crate::client::{Api, EventFilter};
use crate::context::{Context, JsonFlag};
use crate::output::Table;

/// Events read by one call.
const PAGE_EVENTS: usize = 500;

/// Events shown of a log whose beginning nobody asked for.
const LAST_EVENTS: usize = 100;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  events --app hello\n  events --follow --json\n  events --after 1200 --limit 50"
)]
pub(crate) struct Events {
    /// Only events of this app, or of those that were called so
    #[arg(short, long, value_name = "NAME")]
    app: Option<String>,
    /// Only events of this machine
    #[arg(short, long, value_name = "ID")]
    machine: Option<String>,
    /// Begin after this event instead of with the last ones; 0 is the beginning
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Print what there is, and then what happens, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// At most this many of what there is: the last 100 without it, or with --after all
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    #[command(flatten)]
    json: JsonFlag,
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let mut filter = EventFilter {
            app: self.app.clone(),
            machine: self.machine.clone(),
            ..EventFilter::default()
        };
        let mut shown = Shown {
            context,
            json: self.json.json,
            table: (!self.follow).then(table),
        };
        let next = match self.after {
            Some(after) => self.from(&api, &filter, after, &mut shown).await?,
            None => {
                let limit = self.limit.map_or(LAST_EVENTS, |limit| limit as usize);
                filter.last = Some(limit);
                let (events, next) = api.events(&filter).await?;
                filter.last = None;
                events.iter().try_for_each(|event| shown.add(event))?;
                next
            }
        };
        if let Some(table) = shown.table.take().filter(|_| !shown.json) {
            return Ok(table.print(&context.out)?);
        }
        if self.follow {
            filter.after = next;
            let mut stream = api.follow_events(&filter).await?;
            while let Some(event) = stream.next().await? {
                shown.add(&event)?;
            }
        }
        Ok(())
    }

    /// Shows what there is after a position and returns the last one.
    async fn from(
        &self,
        api: &Api,
        filter: &EventFilter,
        after: u64,
        shown: &mut Shown<'_>,
    ) -> anyhow::Result<Option<u64>> {
        let mut left = self.limit.map_or(usize::MAX, |limit| limit as usize);
        let mut page = EventFilter {
            after: Some(after),
            ..filter.clone()
        };
        while left > 0 {
            page.limit = Some(left.min(PAGE_EVENTS));
            let (events, next) = api.events(&page).await?;
            events.iter().try_for_each(|event| shown.add(event))?;
            left -= events.len().min(left);
            if events.is_empty() || next <= page.after {
                break;
            }
            page.after = next;
        }
        Ok(page.after)
    }
}

/// Where events go: into a table that is printed at the end, or out at once.
struct Shown<'a> {
    context: &'a Context,
    json: bool,
    table: Option<Table>,
}

impl Shown<'_> {
    fn add(&mut self, event: &Value) -> anyhow::Result<()> {
        let out = &self.context.out;
        match &mut self.table {
            _ if self.json => out.json_line(event)?,
            Some(table) => table.row(row(event).each_ref().map(String::as_str)),
            None => out.line(&row(event).join("  "))?,
        }
        Ok(())
    }
}

fn table() -> Table {
    Table::new(&["Seq", "At", "Kind", "App", "Machine", "Actor", "Cause"])
        .optional(&["Cause", "Actor", "App"])
}

fn row(event: &Value) -> [String; 7] {
    ["seq", "at", "kind", "app", "machine_id", "actor", "cause"].map(|key| match event.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    })
}

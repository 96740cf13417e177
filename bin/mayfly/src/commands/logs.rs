use std::time::Duration;

use clap::Args;

use crate::client::{LogFilter, LogLine};
use crate::commands::machine::select;
use crate::context::{AppFlags, Context, JsonFlag};

/// Lines of history shown first.
const HISTORY_LINES: usize = 200;

/// Lines asked for at once while following.
const PAGE_LINES: usize = 500;

/// How long the server may hold a call that finds no new line.
const FOLLOW_WAIT: Duration = Duration::from_secs(20);

/// Failed calls in a row before following ends; the cloud may be restarting.
const FAILURES_MAX: u32 = 30;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  logs --app hello\n  logs --app hello --machine 3d8d7a11 --no-tail\n  logs --app \
                        hello --json | jq -c 'select(.level == \"error\")'"
)]
pub(crate) struct Logs {
    #[command(flatten)]
    app: AppFlags,
    /// Only the lines of this machine, by id
    #[arg(
        short,
        long,
        visible_alias = "instance",
        visible_short_alias = 'i',
        value_name = "ID"
    )]
    machine: Option<String>,
    /// Only the lines of machines in this region
    #[arg(short, long, env = "FLY_REGION", hide_env = true, value_name = "CODE")]
    region: Option<String>,
    /// Print what there is and exit, instead of following
    #[arg(short, long)]
    no_tail: bool,
    #[command(flatten)]
    json: JsonFlag,
}

impl Logs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let api = context.api()?;
        let filter = LogFilter {
            // A machine is in one region; with both, the region could only hide it.
            region: self.region.clone().filter(|_| self.machine.is_none()),
            machine: self.machine.clone(),
        };
        let first = api
            .log_page(&app, &filter, None, HISTORY_LINES, Duration::ZERO)
            .await;
        let silent = first.as_ref().is_ok_and(|(lines, _)| lines.is_empty());
        if silent
            || first
                .as_ref()
                .is_err_and(|error| error.status() == Some(404))
        {
            // Silence has two reasons; only one of them is a mistake, and that one is named.
            api.app(&app).await?;
            if let Some(machine) = &self.machine {
                select::one(context, &api, &self.app, Some(machine)).await?;
            }
        }
        let (lines, mut cursor) = first?;
        self.print(context, &lines)?;
        if self.no_tail {
            return Ok(());
        }
        let mut failures = 0;
        loop {
            match api
                .log_page(&app, &filter, cursor.as_deref(), PAGE_LINES, FOLLOW_WAIT)
                .await
            {
                Ok((lines, next)) => {
                    failures = 0;
                    let idle = lines.is_empty() && next == cursor;
                    cursor = next;
                    self.print(context, &lines)?;
                    if idle {
                        // A server that does not hold the call must not be asked in a tight circle.
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
                Err(error) if matches!(error.status(), Some(400..=499)) => return Err(error.into()),
                Err(error) => {
                    failures += 1;
                    if failures > FAILURES_MAX {
                        return Err(error.into());
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    fn print(&self, context: &Context, lines: &[LogLine]) -> anyhow::Result<()> {
        for line in lines {
            if self.json.json {
                context.out.json_line(&line.document())?;
            } else {
                context.out.line(&text(context, line))?;
            }
        }
        Ok(())
    }
}

/// `time provider[machine] region [level] message`.
fn text(context: &Context, line: &LogLine) -> String {
    let out = &context.out;
    let level = line.level();
    let color = match level.as_str() {
        "debug" | "trace" => "36",
        "info" => "34",
        "warn" | "warning" => "33",
        _ => "31",
    };
    let source = match (line.provider(), line.machine()) {
        ("", machine) => machine.to_owned(),
        (provider, "") => provider.to_owned(),
        (provider, machine) => format!("{provider}[{machine}]"),
    };
    format!(
        "{} {source} {} [{}] {}",
        out.faint(&line.at()),
        out.style(line.region(), "32"),
        out.style(&level, color),
        line.message().trim_end_matches('\n')
    )
}

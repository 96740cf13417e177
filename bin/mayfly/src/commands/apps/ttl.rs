use std::time::Duration;

use clap::Args;
use mayfly_wire::GoDuration;
use serde_json::Value;

use crate::client::App;
use crate::context::{AppFlags, Context};

#[derive(Args, Debug)]
#[command(
    after_help = "The time counts from now, however often it is said.\n\nExamples:\n  apps ttl 7d -a hello-pr-7\n  apps ttl none -a hello-pr-7\n  \
                  apps ttl -a hello-pr-7"
)]
pub(crate) struct Ttl {
    /// How long the app lives from now on, as 7d or 12h, or none: for good. Without it, says until when it does
    #[arg(value_name = "TIME", value_parser = wish)]
    ttl: Option<Wish>,
    #[command(flatten)]
    app: AppFlags,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Lives(String),
    Stays,
}

impl Ttl {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = self.app.require()?;
        let api = context.api()?;
        let app = match &self.ttl {
            None => api.app(&name).await?,
            Some(Wish::Lives(ttl)) => api.set_app_ttl(&name, Some(ttl)).await?,
            Some(Wish::Stays) => api.set_app_ttl(&name, None).await?,
        };
        Ok(context.out.line(&until(&app))?)
    }
}

fn until(app: &App) -> String {
    match app.expires_at() {
        Some(at) => format!("App {} goes at {at}", app.name()),
        None => format!("App {} stays for good", app.name()),
    }
}

fn wish(text: &str) -> Result<Wish, String> {
    match text {
        "none" => Ok(Wish::Stays),
        text => lifetime(text).map(Wish::Lives),
    }
}

/// A time such as `7d`, `2w` or `12h30m`, in the words of the API, which knows no days.
pub(crate) fn lifetime(text: &str) -> Result<String, String> {
    const DAY: u64 = 24 * 3600;
    let days = [("d", DAY), ("w", 7 * DAY)]
        .iter()
        .find_map(|(unit, seconds)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(*seconds)
        });
    if let Some(seconds) = days {
        return Ok(GoDuration(Duration::from_secs(seconds)).to_string());
    }
    let read: Result<GoDuration, _> = serde_json::from_value(Value::from(text));
    match read {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write it as 7d, 2w, 12h or 90m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_weeks_are_hours() {
        assert_eq!(lifetime("7d").unwrap(), "168h0m0s");
        assert_eq!(lifetime("2w").unwrap(), "336h0m0s");
        assert_eq!(lifetime("90m").unwrap(), "90m");
        for wrong in ["", "d", "7 days", "-1d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
        assert_eq!(wish("none"), Ok(Wish::Stays));
    }
}

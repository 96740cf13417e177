use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::commands::private_flags::PrivateFlags;
use crate::context::Context;
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ping web.internal\n  ping -n 3 --app web")]
pub(crate) struct Ping {
    /// Private name or address (default: the app's)
    host: Option<String>,
    #[command(flatten)]
    network: PrivateFlags,
    /// Time between echoes
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// How many echoes; 0 goes on until interrupted
    #[arg(short = 'n', long, default_value_t = 0)]
    count: u32,
}

fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .filter(|seconds| (0.01..=3600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "use seconds or milliseconds, such as 1s or 200ms".to_owned())
}

impl Ping {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let api = context.api()?;
        let host = match &self.host {
            Some(host) => host.clone(),
            None => format!("{}.internal", self.network.app.require()?),
        };
        let network = self.network.network(&api, Some(&host)).await?;
        let (mut sent, mut lost) = (0u32, 0u32);
        loop {
            sent += 1;
            match api.ping(&network, &host).await {
                Ok((address, micros)) => {
                    let millis = Duration::from_micros(micros).as_secs_f64() * 1000.0;
                    let line =
                        format!("reply from {address} ({host}), seq={sent} time={millis:.3}ms");
                    context.out.line(&line)?;
                }
                // Nobody there is an answer; anything else is a mistake that repeating does not mend.
                Err(error) if error.status() == Some(503) => {
                    lost += 1;
                    context.out.line(&format!("no reply, seq={sent}"))?;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("could not ping {host}"));
                }
            }
            if sent == self.count {
                break;
            }
            tokio::time::sleep(self.interval).await;
        }
        if lost == sent {
            return Err(Failure::new(format!("{host} did not reply")).into());
        }
        Ok(())
    }
}

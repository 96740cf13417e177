use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use mayfly_net::{ClientConfig, HttpClient, Uri};
use serde_json::json;
use tokio::net::TcpStream;

use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Table;

/// An answer is read to its end, up to this.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  curl https://hello.example.com\n  curl http://127.0.0.1:8080/ --count 10 --json"
)]
pub(crate) struct Curl {
    /// What to ask for
    url: String,
    /// How often, each time over a new connection
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    #[command(flatten)]
    json: JsonFlag,
}

/// Milliseconds of one request.
struct Timing {
    status: u16,
    names: f64,
    connect: f64,
    first_byte: f64,
    total: f64,
}

impl Curl {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let uri: Uri = self
            .url
            .parse()
            .map_err(|error| Failure::new(format!("{} is no URL: {error}", self.url)))?;
        let Some(host) = uri.host() else {
            return Err(Failure::new(format!("{} names no host", self.url)).into());
        };
        let by_scheme = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(by_scheme);
        let mut timings = Vec::new();
        for _ in 0..self.count {
            timings.push(self.once(host, port).await?);
        }
        if self.json.json {
            let listed: Vec<_> = timings
                .iter()
                .map(|one| {
                    json!({
                        "http_code": one.status,
                        "dns_ms": one.names,
                        "connect_ms": one.connect,
                        "ttfb_ms": one.first_byte,
                        "total_ms": one.total,
                    })
                })
                .collect();
            return Ok(context.out.json(&listed.into())?);
        }
        let mut table = Table::new(&["Status", "DNS", "Connect", "TTFB", "Total"]);
        for one in &timings {
            let millis = |value: f64| format!("{value:.1}ms");
            table.row([
                &one.status.to_string(),
                &millis(one.names),
                &millis(one.connect),
                &millis(one.first_byte),
                &millis(one.total),
            ]);
        }
        Ok(table.print(&context.out)?)
    }

    /// Looks the host up, opens a connection to see how long that takes, and asks over another.
    async fn once(&self, host: &str, port: u16) -> anyhow::Result<Timing> {
        let since = |begun: Instant| begun.elapsed().as_secs_f64() * 1000.0;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let begun = Instant::now();
        let address = tokio::net::lookup_host((bare, port))
            .await
            .with_context(|| format!("could not look {host} up"))?
            .next()
            .ok_or_else(|| Failure::new(format!("{host} has no address")))?;
        let names = since(begun);
        let begun = Instant::now();
        let connected = TcpStream::connect(address).await;
        drop(connected.with_context(|| format!("could not connect to {address}"))?);
        let connect = since(begun);
        let client = HttpClient::new(ClientConfig::default());
        let begun = Instant::now();
        let answer = client
            .get(self.url.clone())
            .send()
            .await
            .with_context(|| format!("could not get {}", self.url))?;
        let first_byte = since(begun);
        let status = answer.status().as_u16();
        answer
            .bytes(ANSWER_BYTES_MAX)
            .await
            .context("could not read the answer")?;
        Ok(Timing {
            status,
            names,
            connect,
            first_byte,
            total: since(begun),
        })
    }
}

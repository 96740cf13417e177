use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use mayfly_net::{ClientConfig, HttpClient, Request, Uri, header};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Api, PrivateNetwork};
use crate::commands::dig::address_of;
use crate::commands::private_flags::PrivateFlags;
use crate::context::{Context, JsonFlag};
use crate::failure::Failure;
use crate::output::Table;

/// An answer is read to its end, up to this.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  curl https://hello.example.com\n  curl http://127.0.0.1:8080/ --count 10 --json\n  curl \
                  http://web.internal:8080/\n\nPrivate names (.internal, .flycast) and addresses are asked by way of the cloud, \
                  as `mayfly proxy` does; DNS and Connect then hold the way to the cloud as well."
)]
pub(crate) struct Curl {
    /// What to ask for
    url: String,
    /// How often, each time over a new connection
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    #[command(flatten)]
    network: PrivateFlags,
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
        if is_private(host) {
            if uri.scheme_str() == Some("https") {
                let text = "private names and addresses have no certificates";
                return Err(Failure::new(text).remedy("Ask by http://.").into());
            }
            let api = context.api()?;
            let network = self.network.network(&api, Some(host)).await?;
            for _ in 0..self.count {
                timings.push(inside(&api, &network, &uri, host, port).await?);
            }
        } else {
            for _ in 0..self.count {
                timings.push(self.once(host, port).await?);
            }
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
        let begun = Instant::now();
        let address = tokio::net::lookup_host((bare(host), port))
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
        let ask = client.get(self.url.clone());
        timing(ask, &self.url, names, connect).await
    }
}

/// Asks by a connection of the cloud into a private network.
async fn inside(
    api: &Api,
    network: &PrivateNetwork,
    uri: &Uri,
    host: &str,
    port: u16,
) -> anyhow::Result<Timing> {
    let begun = Instant::now();
    let address = match bare(host).parse() {
        Ok(address) => address,
        Err(_) => address_of(api, network, host).await?,
    };
    let names = since(begun);
    let begun = Instant::now();
    let tunnel = api
        .connect(network, &format!("[{address}]:{port}"))
        .await
        .with_context(|| format!("could not connect to {host}"))?;
    let connect = since(begun);
    // The client connects to an address of this device: the tunnel's end.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let here = listener.local_addr()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let client = HttpClient::new(ClientConfig::default());
    let ask = client
        .get(format!("http://{here}{path}"))
        .header(header::HOST, uri.authority().map_or(host, |of| of.as_str()));
    let through = async {
        let (stream, _) = listener.accept().await?;
        let (reader, writer) = stream.into_split();
        tunnel.carry(reader, writer).await;
        // What has come is still read.
        std::future::pending::<std::io::Result<Infallible>>().await
    };
    let url = uri.to_string();
    tokio::select! {
        timing = timing(ask, &url, names, connect) => timing,
        failed = through => match failed {
            Ok(never) => match never {},
            Err(error) => Err(error).context("could not lead the request into the network"),
        },
    }
}

async fn timing(ask: Request, url: &str, names: f64, connect: f64) -> anyhow::Result<Timing> {
    let begun = Instant::now();
    let answer = ask
        .send()
        .await
        .with_context(|| format!("could not get {url}"))?;
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

/// In milliseconds.
fn since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a host is known inside of private networks only.
fn is_private(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = bare(host).parse::<Ipv6Addr>();
    name.ends_with(".internal")
        || name.ends_with(".flycast")
        || address.is_ok_and(|ip| ip.segments()[0] == 0xfdaa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_known_by_their_look() {
        for host in ["web.internal", "Web.Flycast.", "[fdaa:0:1::2]"] {
            assert!(is_private(host), "{host}");
        }
        for host in ["example.com", "internal", "127.0.0.1", "[2001:db8::1]"] {
            assert!(!is_private(host), "{host}");
        }
    }
}

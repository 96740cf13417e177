mod addresses;
mod duration;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mayfly_control::{ApiLimits, AutoscalePace, BuilderSettings};
use mayfly_edge::{AddressRange, Buckets, HttpSettings, Latency};
use mayfly_image::StoreConfig;
use mayfly_runtime::telemetry::LogFormat;
use mayfly_types::{Region, Secret};

use crate::autoscale_config::autoscale_pace;
use crate::buckets::buckets;
use crate::builder::builder_settings;
use crate::certificates::CertificatesConfig;
use crate::edge_limits::http_settings;
use crate::fleet_config::FleetSettings;
use crate::gateways::GatewaySettings;
use crate::images::store_config;
use crate::registry_config::RegistryConfig;
use crate::usage_config::UsageConfig;
use duration::parse_duration;
use file::{File, Format, LatencySection};

pub(crate) use addresses::Addresses;
pub(crate) use duration::{duration, some_duration};

/// Fly.io looks "every few minutes".
const AUTOSTOP_PERIOD: Duration = Duration::from_secs(180);

const UNUSED_IMAGES_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What one server runs, after file and command line were put together.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// The default region first; empty leaves it at those there were.
    pub(crate) regions: Vec<Region>,
    pub(crate) api_listen: SocketAddr,
    /// Where the world reaches the API, without a slash at the end; `None` is where it listens.
    pub(crate) api_url: Option<String>,
    /// Where the edge of the default region listens.
    pub(crate) edge_listen: SocketAddr,
    pub(crate) edge_https_listen: SocketAddr,
    pub(crate) edge_accept_proxy_protocol: Vec<AddressRange>,
    pub(crate) edge_drain: Duration,
    pub(crate) edge_http: HttpSettings,
    pub(crate) buckets: Buckets,
    /// Addresses of the edges of other regions; their ports are those of the first.
    pub(crate) edge_addresses: BTreeMap<Region, IpAddr>,
    pub(crate) addresses: Addresses,
    pub(crate) gateway: GatewaySettings,
    pub(crate) domain: String,
    pub(crate) certificates: CertificatesConfig,
    /// How often machines without work are looked for.
    pub(crate) autostop_period: Duration,
    pub(crate) autoscale: AutoscalePace,
    pub(crate) usage: UsageConfig,
    pub(crate) latency: Latency,
    pub(crate) store: StoreLocation,
    pub(crate) log_format: LogFormat,
    pub(crate) shutdown_patience: Duration,
    pub(crate) api_limits: ApiLimits,
    pub(crate) images: StoreConfig,
    pub(crate) builder: BuilderSettings,
    /// How long images of registries stay that no machine needs; `None` for ever.
    pub(crate) unused_images_kept: Option<Duration>,
    pub(crate) registry: Arc<RegistryConfig>,
    pub(crate) fleet: FleetSettings,
}

/// Where intent is kept.
#[derive(Debug)]
pub(crate) enum StoreLocation {
    /// A SQLite file in the data directory.
    File(PathBuf),
    Postgres(Secret),
}

/// What the command line says; each wins over the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Three-letter place name that this server's machines report.
    #[arg(long, conflicts_with = "regions")]
    pub(crate) region: Option<Region>,
    /// Several regions on this server, each with its own host and edge; the first is the default.
    #[arg(long, value_delimiter = ',', value_name = "REGION,REGION…")]
    pub(crate) regions: Vec<Region>,
    /// Requests between regions of this server take as long as they would on the map.
    #[arg(long)]
    pub(crate) emulate_latency: bool,
    /// Address and port of the Machines API.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) api_listen: Option<SocketAddr>,
    /// Address and port where requests for apps arrive.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) http_listen: Option<SocketAddr>,
    /// Address and port where requests for apps arrive over TLS.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) https_listen: Option<SocketAddr>,
    /// Address and port where users' devices connect by WireGuard (UDP, and TCP for WebSockets).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) gateway_listen: Option<SocketAddr>,
    /// Apps are reached as <app>.<domain>.
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Address and port where this server answers other servers of its fleet (TCP), and has its end of the tunnels (UDP).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) fleet_listen: Option<SocketAddr>,
    /// Where other servers reach it, if that is another address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) fleet_advertise: Option<String>,
    /// Join the fleet whose first server answers there, with the token in MAYFLY_JOIN_TOKEN.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) join: Option<String>,
    #[arg(long, env = "MAYFLY_JOIN_TOKEN", hide = true, hide_env_values = true)]
    pub(crate) join_token: Option<String>,
}

impl Config {
    /// Reads `file`, or `<data dir>/config.toml` if there is one, and lays `overrides` over it.
    pub(crate) fn load(
        data_dir: &Path,
        file: Option<&Path>,
        overrides: &Overrides,
    ) -> anyhow::Result<Self> {
        let usual = data_dir.join("config.toml");
        let path = file.or_else(|| usual.exists().then_some(usual.as_path()));
        let parsed = match path {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("read configuration {}", path.display()))?;
                File::parse(&text).with_context(|| format!("configuration {}", path.display()))?
            }
        };
        Self::assemble(data_dir, parsed, overrides)
    }

    fn assemble(data_dir: &Path, file: File, overrides: &Overrides) -> anyhow::Result<Self> {
        let domain = overrides
            .domain
            .clone()
            .or(file.edge.domain)
            .unwrap_or_else(|| "mayfly.localhost".to_owned());
        let edge_listen = overrides
            .http_listen
            .or(file.edge.listen)
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let autostop_period = file.edge.autostop_period.unwrap_or(AUTOSTOP_PERIOD);
        anyhow::ensure!(
            autostop_period >= Duration::from_millis(100),
            "edge.autostop_period must be 100ms or more"
        );
        let store = match file.store.url_file {
            None => StoreLocation::File(data_dir.join("control.db")),
            Some(path) => {
                let url = std::fs::read_to_string(&path)
                    .with_context(|| format!("read store.url_file {}", path.display()))?;
                let url = url.trim();
                anyhow::ensure!(
                    url.starts_with("postgres://") || url.starts_with("postgresql://"),
                    "store.url_file {}: expected one line postgres://user:password@host/database",
                    path.display()
                );
                StoreLocation::Postgres(Secret::new(url))
            }
        };
        Ok(Self {
            data_dir: data_dir.to_owned(),
            regions: regions(overrides, file.region, file.regions)?,
            api_listen: overrides
                .api_listen
                .or(file.api.listen)
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 4280))),
            api_url: file.api.public_url.map(api_url).transpose()?,
            edge_https_listen: overrides
                .https_listen
                .or(file.edge.https_listen)
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8443))),
            edge_accept_proxy_protocol: file
                .edge
                .accept_proxy_protocol
                .iter()
                .map(|text| text.parse().context("edge.accept_proxy_protocol"))
                .collect::<anyhow::Result<_>>()?,
            gateway: GatewaySettings::check(file.gateway, overrides.gateway_listen, edge_listen)?,
            edge_drain: file.edge.drain.unwrap_or(Duration::from_secs(10)),
            edge_http: http_settings(file.edge.limits)?,
            buckets: buckets(file.statics)?,
            edge_addresses: file.edge.addresses,
            edge_listen,
            certificates: CertificatesConfig::check(
                &file.certificates,
                file.acme,
                &file.dns,
                file.edge.public_addresses,
                edge_listen,
            )?,
            addresses: file.addresses.checked()?,
            domain: checked_domain("edge.domain", domain)?,
            autostop_period,
            autoscale: autoscale_pace(&file.autoscale)?,
            usage: UsageConfig::check(&file.usage)?,
            latency: latency(&file.latency, overrides)?,
            store,
            log_format: match file.log.format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
            shutdown_patience: file.shutdown.patience,
            api_limits: match file.limits.api {
                None => ApiLimits::Off,
                Some(name) => name.parse().context("limits.api")?,
            },
            unused_images_kept: Some(file.images.unused_kept.unwrap_or(UNUSED_IMAGES_KEPT))
                .filter(|kept| !kept.is_zero()),
            builder: builder_settings(file.builder)?,
            images: store_config(file.images)?,
            registry: Arc::new(RegistryConfig::check(file.registry)?),
            fleet: FleetSettings::check(file.fleet, file.join, overrides)?,
        })
    }
}

impl Config {
    /// What a service manager can hold open while the daemon is away.
    pub(crate) fn sockets(&self) -> [SocketAddr; 3] {
        [self.api_listen, self.edge_listen, self.edge_https_listen]
    }

    /// Where the edge of a region listens, given where the first does. Regions after the first have the next address
    /// of the loopback network, unless one is configured.
    pub(crate) fn edge_of(
        &self,
        region: &Region,
        index: usize,
        first: SocketAddr,
    ) -> anyhow::Result<SocketAddr> {
        if let Some(ip) = self.edge_addresses.get(region) {
            return Ok(SocketAddr::new(*ip, first.port()));
        }
        let next = match first.ip() {
            ip if index == 0 => Some(ip),
            IpAddr::V4(ip) if ip.is_loopback() => u32::try_from(index)
                .ok()
                .and_then(|index| ip.to_bits().checked_add(index))
                .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
            _ => None,
        };
        let next = next.with_context(|| {
            format!(
                "region {region} needs an address of its own for its edge: write edge.addresses = {{ {region} = \"…\" }}"
            )
        })?;
        Ok(SocketAddr::new(next, first.port()))
    }
}

/// Others compare it letter by letter, as the issuer of tokens.
fn api_url(text: String) -> anyhow::Result<String> {
    let url = text.trim_end_matches('/');
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    anyhow::ensure!(
        host.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' '])),
        "api.public_url `{text}`: expected an address like https://api.example.com"
    );
    Ok(url.to_owned())
}

/// The command line before the file; `region` is `regions` with one.
fn regions(
    overrides: &Overrides,
    region: Option<Region>,
    regions: Vec<Region>,
) -> anyhow::Result<Vec<Region>> {
    anyhow::ensure!(
        region.is_none() || regions.is_empty(),
        "region and regions cannot both be given: regions = [\"…\"] is enough"
    );
    let said = match &overrides.region {
        Some(region) => vec![region.clone()],
        None => overrides.regions.clone(),
    };
    let chosen = if said.is_empty() {
        region.map_or(regions, |region| vec![region])
    } else {
        said
    };
    let mut seen = BTreeSet::new();
    for region in &chosen {
        anyhow::ensure!(seen.insert(region), "regions names {region} twice");
    }
    Ok(chosen)
}

fn latency(section: &LatencySection, overrides: &Overrides) -> anyhow::Result<Latency> {
    let mut told = BTreeMap::new();
    for (pair, text) in &section.round_trips {
        let parse = || -> Option<(Region, Region)> {
            let (one, other) = pair.split_once('-')?;
            Some((one.parse().ok()?, other.parse().ok()?))
        };
        let regions = parse().with_context(|| {
            format!("latency.round_trips.{pair} is no pair of regions: write iad-fra")
        })?;
        let span = parse_duration(text).filter(|span| *span <= Duration::from_secs(10));
        let span = span.with_context(|| {
            format!("latency.round_trips.{pair} must be at most 10s and written like 90ms")
        })?;
        told.insert(regions, span);
    }
    Ok(if section.emulate || overrides.emulate_latency {
        Latency::emulated(told)
    } else {
        Latency::default()
    })
}

pub(crate) fn checked_domain(key: &str, domain: String) -> anyhow::Result<String> {
    let labels_hold = domain.len() <= 189
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        });
    anyhow::ensure!(
        labels_hold,
        "{key} `{domain}` is not a domain name: use labels of a-z, 0-9 and - with dots between them"
    );
    Ok(domain)
}

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mayfly_control::{ApiLimits, BuilderSettings};
use mayfly_edge::{AddressRange, Buckets, HttpSettings, Latency};
use mayfly_image::StoreConfig;
use mayfly_runtime::telemetry::LogFormat;
use mayfly_types::{IpRange, Region, Secret};
use serde::{Deserialize, Deserializer};

use crate::buckets::{StaticsSection, buckets};
use crate::builder::{BuilderSection, builder_settings};
use crate::certificates::{AcmeSection, CertificatesConfig, CertificatesSection, DnsSection};
use crate::edge_limits::{EdgeLimitsSection, http_settings};
use crate::fleet_config::{FleetSection, FleetSettings, JoinSection};
use crate::gateways::{GatewaySection, GatewaySettings};
use crate::images::{ImagesSection, store_config};
use crate::registry_config::{RegistryConfig, RegistrySection};

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

/// The file's shape. The shipped example is parsed by a test.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    region: Option<Region>,
    regions: Vec<Region>,
    api: Api,
    edge: Edge,
    certificates: CertificatesSection,
    acme: AcmeSection,
    dns: DnsSection,
    addresses: Addresses,
    gateway: GatewaySection,
    latency: LatencySection,
    store: Store,
    log: Log,
    shutdown: Shutdown,
    limits: Limits,
    images: ImagesSection,
    builder: BuilderSection,
    statics: StaticsSection,
    registry: RegistrySection,
    fleet: FleetSection,
    join: JoinSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Api {
    listen: Option<SocketAddr>,
    public_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Edge {
    listen: Option<SocketAddr>,
    https_listen: Option<SocketAddr>,
    addresses: BTreeMap<Region, IpAddr>,
    public_addresses: Vec<IpAddr>,
    domain: Option<String>,
    accept_proxy_protocol: Vec<String>,
    #[serde(deserialize_with = "some_duration")]
    drain: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    autostop_period: Option<Duration>,
    limits: EdgeLimitsSection,
}

/// How far regions of one server seem to be from each other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LatencySection {
    emulate: bool,
    /// By pair of regions, such as `iad-fra`; both ways are the same.
    round_trips: BTreeMap<String, String>,
}

/// Where addresses of apps are taken from; what is `None` is decided by where the edge listens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Addresses {
    #[serde(deserialize_with = "range")]
    pub(crate) v4: Option<IpRange>,
    #[serde(deserialize_with = "range")]
    pub(crate) v6: Option<IpRange>,
    pub(crate) shared_v4: Option<Ipv4Addr>,
    #[serde(deserialize_with = "range")]
    pub(crate) egress_v4: Option<IpRange>,
    #[serde(deserialize_with = "range")]
    pub(crate) egress_v6: Option<IpRange>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Store {
    url_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Log {
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    api: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Shutdown {
    #[serde(deserialize_with = "duration")]
    patience: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
        }
    }
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
                parse(&text).with_context(|| format!("configuration {}", path.display()))?
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
            addresses: checked_addresses(file.addresses)?,
            domain: checked_domain("edge.domain", domain)?,
            autostop_period,
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

fn checked_addresses(addresses: Addresses) -> anyhow::Result<Addresses> {
    anyhow::ensure!(
        addresses.v4.is_none_or(|range| range.first().is_ipv4()),
        "addresses.v4 must be a range of IPv4 addresses, such as 127.80.0.0/16"
    );
    anyhow::ensure!(
        addresses.v6.is_none_or(|range| range.first().is_ipv6()),
        "addresses.v6 must be a range of IPv6 addresses, such as 2001:db8::/64"
    );
    anyhow::ensure!(
        addresses
            .egress_v4
            .is_none_or(|range| range.first().is_ipv4()),
        "addresses.egress_v4 must be a range of IPv4 addresses, such as 198.51.100.0/28"
    );
    anyhow::ensure!(
        addresses
            .egress_v6
            .is_none_or(|range| range.first().is_ipv6()),
        "addresses.egress_v6 must be a range of IPv6 addresses, such as 2001:db8:1::/64"
    );
    Ok(addresses)
}

fn range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpRange>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn parse(text: &str) -> anyhow::Result<File> {
    Ok(toml::from_str(text)?)
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

/// Durations are written `500ms`, `30s`, `5m` or `2h`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration: write a whole number and ms, s, m or h, such as 30s"
        ))
    })
}

pub(crate) fn some_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|character: char| !character.is_ascii_digit())?;
    let count: u64 = text[..unit].parse().ok()?;
    let millis = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(text: &str, overrides: &Overrides) -> anyhow::Result<Config> {
        Config::assemble(Path::new("/data"), parse(text)?, overrides)
    }

    #[test]
    fn the_shipped_example_says_the_defaults() {
        let none = Overrides::default();
        let example = assembled(include_str!("../mayfly.example.toml"), &none).unwrap();
        let empty = assembled("", &none).unwrap();
        assert_eq!(format!("{example:?}"), format!("{empty:?}"));
        assert_eq!(empty.api_listen.to_string(), "127.0.0.1:4280");
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = Overrides {
            region: Some("fra".parse().unwrap()),
            ..Overrides::default()
        };
        let config =
            assembled("region = \"ams\"\n[edge]\ndomain = \"a.test\"", &overrides).unwrap();
        assert_eq!(shown(&config), "fra");
        assert_eq!(config.domain, "a.test");
    }

    fn shown(config: &Config) -> String {
        let codes = config.regions.iter().map(Region::as_str);
        codes.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_region_has_an_edge_of_its_own() {
        let text = "regions = [\"iad\", \"fra\", \"nrt\"]\n[edge.addresses]\nnrt = \"::1\"";
        let config = assembled(text, &Overrides::default()).unwrap();
        assert_eq!(shown(&config), "iad fra nrt");
        let edge = |index: usize, first: &str| {
            let region = &config.regions[index];
            let found = config.edge_of(region, index, first.parse().unwrap());
            found.map(|address| address.to_string())
        };
        assert_eq!(edge(0, "127.0.0.1:81").unwrap(), "127.0.0.1:81");
        assert_eq!(edge(1, "127.0.0.1:81").unwrap(), "127.0.0.2:81");
        assert_eq!(edge(2, "127.0.0.1:81").unwrap(), "[::1]:81");
        assert_eq!(edge(0, "0.0.0.0:80").unwrap(), "0.0.0.0:80");
        let problem = edge(1, "0.0.0.0:80").unwrap_err().to_string();
        assert!(problem.contains("edge.addresses = { fra ="), "{problem}");
    }

    #[test]
    fn registries_are_logged_into_and_limits_are_held() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "top secret\n").unwrap();
        let text = format!(
            "[limits]\napi = \"seed-001\"\n[images.logins.\"ghcr.io\"]\nusername = \"me\"\npassword_file = {:?}",
            file.path()
        );
        let config = assembled(&text, &Overrides::default()).unwrap();
        assert_eq!(config.api_limits, ApiLimits::Seed001);
        let login = &config.images.logins["ghcr.io"];
        assert_eq!(
            (login.username.as_str(), login.password.reveal()),
            ("me", "top secret")
        );
        assert!(!format!("{config:?}").contains("top secret"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("[api]\nlisten_on = \"1\"", "listen_on"),
            ("[limits]\napi = \"strict\"", "seed-001"),
            (
                "[images]\nca_file = \"/nowhere\"",
                "images.ca_file /nowhere",
            ),
            (
                "[images.logins.\"ghcr.io\"]\nusername = \"me\"\npassword_file = \"/nowhere\"",
                "images.logins.\"ghcr.io\".password_file /nowhere",
            ),
            ("[api]\nlisten = \"here\"", "listen"),
            ("[api]\npublic_url = \"api.test\"", "api.public_url"),
            ("region = \"Frankfurt\"", "three letters"),
            ("regions = [\"fra\", \"fra\"]", "fra twice"),
            ("region = \"fra\"\nregions = [\"iad\"]", "cannot both"),
            ("[shutdown]\npatience = \"10\"", "30s"),
            ("[edge]\nautostop_period = \"0s\"", "edge.autostop_period"),
            ("[edge]\ndomain = \"Bad Domain\"", "edge.domain"),
            (
                "[edge.limits]\nheader_bytes = 100",
                "edge.limits.header_bytes",
            ),
            (
                "[edge.limits]\nidle_timeout = \"0s\"",
                "edge.limits.idle_timeout",
            ),
            ("[edge.limits]\nidle = \"1s\"", "idle_timeout"),
            (
                "[edge.limits.apps.web]\nconnections = 0",
                "edge.limits.apps.web.connections",
            ),
            (
                "[statics.buckets.a]\nendpoint = \"s3.test\"",
                "statics.buckets.a.endpoint",
            ),
            (
                "[statics.buckets.a]\nendpoint = \"http://s3\"\naccess_key_id = \"x\"",
                "secret_access_key_file",
            ),
            (
                "[images.registries]\n\"docker.io\" = \"mirror.test\"",
                "images.registries.\"docker.io\"",
            ),
            ("[registry]\nrequests = 0", "registry.requests"),
            (
                "[registry]\nmirrors = [\"localhost:5000\"]",
                "registry.mirrors: `localhost:5000`",
            ),
            (
                "[registry]\ncollect_period = \"1ms\"",
                "registry.collect_period",
            ),
            (
                "[registry.bucket]\nname = \"a\"\nendpoint = \"s3.test\"",
                "registry.bucket.endpoint",
            ),
            ("[edge]\ndrain = 10", "drain"),
            ("[addresses]\nv4 = \"::/64\"", "addresses.v4"),
            (
                "[addresses]\negress_v6 = \"10.0.0.0/8\"",
                "addresses.egress_v6",
            ),
            ("[latency.round_trips]\niad = \"9ms\"", "pair of regions"),
            (
                "[latency.round_trips]\niad-fra = \"9\"",
                "written like 90ms",
            ),
            ("[addresses]\nv6 = \"10.0.0.0/33\"", "no range of addresses"),
            (
                "[edge]\naccept_proxy_protocol = [\"10.0.0.0/8\", \"lb\"]",
                "edge.accept_proxy_protocol: `lb`",
            ),
            ("[edge]\npublic_addresses = [\"here\"]", "public_addresses"),
            ("[certificates]\nlifetime = \"1s\"", "certificates.lifetime"),
            ("[acme]\nemail = \"a@b.test\"", "acme.directory_url"),
            ("[acme]\ndirectory_url = \"http://ca\"", "https"),
            (
                "[acme]\ndirectory_url = \"https://ca\"\nca_file = \"/nowhere\"",
                "acme.ca_file",
            ),
            (
                "[acme]\ndirectory_url = \"https://ca\"\nexternal_key_id = \"x\"",
                "external_key_file",
            ),
            (
                "[acme]\ndirectory_url = \"https://ca\"\nchallenge_zone = \"a.test\"",
                "acme.challenge_listen",
            ),
            (
                "[acme]\nchallenge_zone = \"a.test\"\nchallenge_listen = \"0.0.0.0:53\"",
                "acme.directory_url",
            ),
            ("[dns]\nservers = [\"dns.test\"]", "1.1.1.1"),
            ("[store]\nurl_file = \"/nowhere\"", "/nowhere"),
            ("[fleet]\nlisten = \"here\"", "listen"),
            ("[fleet]\nadvertise = \"here\"", "fleet.advertise"),
            ("[fleet]\nhost_patience = \"10ms\"", "fleet.host_patience"),
            (
                "[fleet]\nidentity_lifetime = \"1s\"",
                "fleet.identity_lifetime",
            ),
            ("[join]\naddress = \"nowhere\"", "join.address"),
            (
                "[join]\naddress = \"a.test:4290\"\ntoken_file = \"/nowhere\"",
                "join.token_file /nowhere",
            ),
            ("[join]\ntoken_file = \"/nowhere\"", "join.address"),
        ] {
            let error = assembled(text, &Overrides::default()).unwrap_err();
            assert!(format!("{error:#}").contains(named), "{text}: {error:#}");
        }
    }
}

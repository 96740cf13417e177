use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mayfly_fleet_api::JoinToken;
use serde::Deserialize;

use crate::config::{Overrides, some_duration};

/// Longer than a daemon takes to start again, shorter than what users notice.
const HOST_PATIENCE: Duration = Duration::from_secs(15);
const IDENTITY_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Where a server that joins listens unless told otherwise.
const JOINED_LISTEN: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    FLEET_PORT,
);
pub(crate) const FLEET_PORT: u16 = 4290;

/// The file's `[fleet]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FleetSection {
    listen: Option<SocketAddr>,
    advertise: Option<String>,
    #[serde(deserialize_with = "some_duration")]
    host_patience: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    identity_lifetime: Option<Duration>,
}

/// The file's `[join]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JoinSection {
    address: Option<String>,
    token_file: Option<PathBuf>,
}

/// This server among others.
#[derive(Debug)]
pub(crate) struct FleetSettings {
    /// `None` on a server that neither joins nor is joined.
    pub(crate) listen: Option<SocketAddr>,
    /// `<address or name>:<port>`; otherwise where it is seen.
    pub(crate) advertise: Option<String>,
    pub(crate) host_patience: Duration,
    pub(crate) identity_lifetime: Duration,
    pub(crate) join: Option<JoinSettings>,
}

#[derive(Debug)]
pub(crate) struct JoinSettings {
    pub(crate) address: String,
    /// Needed the first time only.
    pub(crate) token: Option<JoinToken>,
}

impl FleetSettings {
    pub(crate) fn check(
        fleet: FleetSection,
        join: JoinSection,
        overrides: &Overrides,
    ) -> anyhow::Result<Self> {
        let address = overrides.join.clone().or(join.address);
        anyhow::ensure!(
            address.is_some() || join.token_file.is_none(),
            "join.address is missing; join.token_file means nothing without it"
        );
        let token = match (&overrides.join_token, join.token_file) {
            (Some(text), _) => Some(text.parse().context("--join-token")?),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("read join.token_file {}", path.display()))?;
                let token = text.parse();
                Some(token.with_context(|| format!("join.token_file {}", path.display()))?)
            }
            (None, None) => None,
        };
        let join = match address {
            None => None,
            Some(address) => Some(JoinSettings {
                address: with_port(&address).with_context(|| {
                    format!("join.address `{address}`: write a name or an address and a port, such as 192.0.2.7:4290")
                })?,
                token,
            }),
        };
        let advertise = overrides.fleet_advertise.clone().or(fleet.advertise);
        let advertise = advertise
            .map(|text| {
                with_port(&text).with_context(|| {
                    format!("fleet.advertise `{text}`: write a name or an address and a port, such as 192.0.2.7:4290")
                })
            })
            .transpose()?;
        let host_patience = fleet.host_patience.unwrap_or(HOST_PATIENCE);
        anyhow::ensure!(
            host_patience >= Duration::from_secs(1),
            "fleet.host_patience must be 1s or more"
        );
        let identity_lifetime = fleet.identity_lifetime.unwrap_or(IDENTITY_LIFETIME);
        anyhow::ensure!(
            identity_lifetime >= Duration::from_secs(60),
            "fleet.identity_lifetime must be 1m or more"
        );
        let listen = overrides.fleet_listen.or(fleet.listen);
        Ok(Self {
            listen: listen.or(join.is_some().then_some(JOINED_LISTEN)),
            advertise,
            host_patience,
            identity_lifetime,
            join,
        })
    }

    /// Where a server that joined once listens.
    pub(crate) fn listen_as_member(&self) -> SocketAddr {
        self.listen.unwrap_or(JOINED_LISTEN)
    }
}

fn with_port(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port > 0 && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}

//! The gateways of this server's regions, where users' devices enter private networks.

use std::net::SocketAddr;

use anyhow::Context;
use mayfly_control::DirectoryFeed;
use mayfly_driver::ContainerDriver;
use mayfly_gateway::{Gateway, GatewayConfig, GatewayDeps, GatewayError};
use mayfly_host::Host;
use mayfly_types::{HostId, Region};
use mayfly_wireguard::EngineChoice;
use serde::Deserialize;
use tracing::warn;

use crate::config::Config;
use crate::host_places::HostPlace;

/// WireGuard's own; clients that are told no port use it.
const PORT: u16 = 51820;

/// The file's section.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GatewaySection {
    enabled: Option<bool>,
    listen: Option<SocketAddr>,
    websocket_listen: Option<SocketAddr>,
    endpoint: Option<String>,
    wireguard: EngineChoice,
}

/// Where devices come in.
#[derive(Clone, Debug)]
pub(crate) struct GatewaySettings {
    wish: Wish,
    /// Of the default region, for UDP.
    listen: SocketAddr,
    /// Of the default region, for WebSockets.
    websocket_listen: SocketAddr,
    endpoint: Option<String>,
    /// Also of the tunnels between servers.
    pub(crate) wireguard: EngineChoice,
}

/// How much a gateway is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Off,
    /// Nothing was said: another daemon of this server may have the port, or there may be no TUN devices.
    IfPossible,
    Required,
}

impl GatewaySettings {
    /// `edge` is where requests for apps arrive: devices come in at the same address unless something else is said.
    pub(crate) fn check(
        section: GatewaySection,
        listen: Option<SocketAddr>,
        edge: SocketAddr,
    ) -> anyhow::Result<GatewaySettings> {
        let said = listen.or(section.listen);
        let wish = match section.enabled {
            Some(false) => Wish::Off,
            Some(true) => Wish::Required,
            None if said.is_some()
                || section.websocket_listen.is_some()
                || section.wireguard == EngineChoice::Kernel =>
            {
                Wish::Required
            }
            None => Wish::IfPossible,
        };
        let listen = said.unwrap_or(SocketAddr::new(edge.ip(), PORT));
        if let Some(endpoint) = &section.endpoint {
            let good = |letter: char| letter.is_ascii_alphanumeric() || ".-:".contains(letter);
            anyhow::ensure!(
                !endpoint.is_empty() && endpoint.chars().all(good),
                "gateway.endpoint: write an IP address or a host name without a port, not \"{endpoint}\""
            );
        }
        Ok(GatewaySettings {
            wish,
            listen,
            websocket_listen: section.websocket_listen.unwrap_or(listen),
            endpoint: section.endpoint,
            wireguard: section.wireguard,
        })
    }
}

/// Opens a gateway for each region, in the order of `places`.
///
/// # Errors
/// A gateway cannot be opened that the configuration asks for. One that it does not mention is left out with a warning.
pub(crate) async fn open(
    config: &Config,
    places: &[HostPlace],
    hosts: &[Host],
    driver: &ContainerDriver,
    directory: &DirectoryFeed,
) -> anyhow::Result<Vec<Gateway>> {
    let settings = &config.gateway;
    let mut gateways = Vec::new();
    if settings.wish == Wish::Off {
        return Ok(gateways);
    }
    let wireguard = engine(settings, places.len())?;
    for (index, (place, host)) in places.iter().zip(hosts).enumerate() {
        let opened = open_one(config, wireguard, &place.region, index, host.host_id())?;
        let opened = opened.build(GatewayDeps {
            mesh: driver.mesh().clone(),
            directory: directory.subscribe(),
        });
        match opened.await {
            Ok(gateway) => gateways.push(gateway),
            Err(error) if settings.wish == Wish::IfPossible && is_about_this_server(&error) => {
                warn!(
                    region = %place.region,
                    error = mayfly_runtime::report(&error),
                    "no WireGuard gateway; set gateway.listen to have one at another address"
                );
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "open the WireGuard gateway of region {} (gateway.wireguard is {})",
                        place.region, settings.wireguard
                    )
                });
            }
        }
    }
    Ok(gateways)
}

/// The kernel's listens at its port on every address, and the gateways of several regions have the same port.
fn engine(settings: &GatewaySettings, regions: usize) -> anyhow::Result<EngineChoice> {
    if regions == 1 || settings.listen.port() == 0 {
        return Ok(settings.wireguard);
    }
    anyhow::ensure!(
        settings.wireguard != EngineChoice::Kernel,
        "gateway.wireguard: the kernel's WireGuard takes its port on all addresses, so a server of several regions needs \"auto\" or \"userspace\""
    );
    Ok(EngineChoice::Userspace)
}

fn open_one(
    config: &Config,
    wireguard: EngineChoice,
    region: &Region,
    index: usize,
    host_id: HostId,
) -> anyhow::Result<GatewayConfig> {
    let settings = &config.gateway;
    let listen = config.edge_of(region, index, settings.listen)?;
    let public = config.certificates.settings.public_addresses.first();
    let endpoint = match (&settings.endpoint, public) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(address)) if listen.ip().is_unspecified() => address.to_string(),
        (None, None) if listen.ip().is_unspecified() => config.domain.clone(),
        (None, _) => listen.ip().to_string(),
    };
    Ok(GatewayConfig {
        region: region.clone(),
        host_id,
        listen,
        websocket_listen: Some(config.edge_of(region, index, settings.websocket_listen)?),
        endpoint,
        wireguard,
        directory: config.data_dir.join("gateway"),
    })
}

/// Not about files of ours, which are never passed over.
fn is_about_this_server(error: &GatewayError) -> bool {
    matches!(
        error,
        GatewayError::Interface(_) | GatewayError::Listen { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_that_share_a_port_are_not_the_kernels() {
        let engine = |wireguard, port, regions| {
            let listen = SocketAddr::from(([127, 0, 0, 1], port));
            let section = GatewaySection {
                wireguard,
                ..GatewaySection::default()
            };
            let settings = GatewaySettings::check(section, Some(listen), listen).unwrap();
            engine(&settings, regions)
        };
        use EngineChoice::{Auto, Kernel, Userspace};
        for (wished, port, regions, expected) in [
            (Auto, PORT, 1, Auto),
            (Kernel, PORT, 1, Kernel),
            (Auto, PORT, 2, Userspace),
            (Userspace, PORT, 2, Userspace),
            (Auto, 0, 2, Auto),
            (Kernel, 0, 2, Kernel),
        ] {
            let found = engine(wished, port, regions).unwrap();
            assert_eq!(found, expected, "{wished} {port} {regions}");
        }
        let refused = engine(Kernel, PORT, 2).unwrap_err().to_string();
        assert!(refused.starts_with("gateway.wireguard: "), "{refused}");
    }
}

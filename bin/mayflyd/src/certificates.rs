//! What certificates are made with, out of the configuration and the data directory.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mayfly_certs::LocalAuthority;
use mayfly_certs::acme::{Acme, AcmeConfig};
use mayfly_certs::dns::{Resolver, system_servers};
use mayfly_control::{CertificateDeps, CertificateSettings};
use mayfly_names::ChallengesConfig;
use mayfly_runtime::{Clock, Entropy};
use mayfly_seal::Sealer;
use mayfly_types::Secret;
use serde::Deserialize;

use crate::config::{checked_domain, duration};

/// Section `[certificates]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CertificatesSection {
    #[serde(deserialize_with = "duration")]
    lifetime: Duration,
}

impl Default for CertificatesSection {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// Section `[acme]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AcmeSection {
    directory_url: Option<String>,
    email: Option<String>,
    ca_file: Option<PathBuf>,
    external_key_id: Option<String>,
    external_key_file: Option<PathBuf>,
    challenge_zone: Option<String>,
    challenge_listen: Option<SocketAddr>,
}

/// Section `[dns]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DnsSection {
    servers: Vec<DnsServer>,
}

/// An address, with port 53 unless it names another.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "an address such as 1.1.1.1 or 127.0.0.1:5353")]
enum DnsServer {
    Socket(SocketAddr),
    Ip(IpAddr),
}

/// The checked settings.
#[derive(Debug)]
pub(crate) struct CertificatesConfig {
    pub(crate) settings: CertificateSettings,
    /// Where proofs in DNS are shown, if anywhere.
    pub(crate) challenges: Option<ChallengesConfig>,
    acme: Option<AcmeConfig>,
    /// Empty: those of the system.
    dns_servers: Vec<SocketAddr>,
}

impl CertificatesConfig {
    pub(crate) fn check(
        certificates: &CertificatesSection,
        acme: AcmeSection,
        dns: &DnsSection,
        addresses: Vec<IpAddr>,
        edge_listen: SocketAddr,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            certificates.lifetime >= Duration::from_secs(10),
            "certificates.lifetime: use at least 10s"
        );
        // An edge that listens on one address is reached there, unless the configuration knows better.
        let listens_on_one = !edge_listen.ip().is_unspecified();
        let public_addresses = match addresses.is_empty() && listens_on_one {
            true => vec![edge_listen.ip()],
            false => addresses,
        };
        let servers = dns.servers.iter().map(|server| match server {
            DnsServer::Socket(address) => *address,
            DnsServer::Ip(ip) => SocketAddr::new(*ip, 53),
        });
        let challenges = acme.challenges()?;
        Ok(Self {
            settings: CertificateSettings {
                local_lifetime: certificates.lifetime,
                public_addresses,
                challenge_zone: challenges.as_ref().map(|config| config.zone.clone()),
            },
            challenges,
            acme: acme.check()?,
            dns_servers: servers.collect(),
        })
    }

    /// Opens the local authority and the sealing key in the data directory, making what is not there yet.
    pub(crate) fn open(
        &self,
        data_dir: &Path,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> anyhow::Result<CertificateDeps> {
        let authority =
            LocalAuthority::open(&data_dir.join("authority"), clock.now(), entropy.as_ref())
                .context("open the local certificate authority")?;
        let sealer = Sealer::open(&data_dir.join("sealing.key"), entropy.as_ref())
            .context("open the sealing key")?;
        let servers = match self.dns_servers.is_empty() {
            true => system_servers(),
            false => self.dns_servers.clone(),
        };
        let acme = self.acme.clone();
        Ok(CertificateDeps {
            authority: Arc::new(authority),
            sealer: Arc::new(sealer),
            resolver: Resolver::new(servers, entropy.clone()),
            acme: acme.map(|acme| Acme::new(acme, clock.clone())),
        })
    }
}

impl AcmeSection {
    fn challenges(&self) -> anyhow::Result<Option<ChallengesConfig>> {
        let (zone, listen) = match (&self.challenge_zone, self.challenge_listen) {
            (None, None) => return Ok(None),
            (Some(zone), Some(listen)) => (zone, listen),
            _ => anyhow::bail!("acme.challenge_zone and acme.challenge_listen go together"),
        };
        anyhow::ensure!(
            self.directory_url.is_some(),
            "acme.challenge_zone means nothing without acme.directory_url"
        );
        let zone = checked_domain("acme.challenge_zone", zone.to_ascii_lowercase())?;
        Ok(Some(ChallengesConfig { listen, zone }))
    }

    fn check(self) -> anyhow::Result<Option<AcmeConfig>> {
        let Some(directory_url) = self.directory_url else {
            anyhow::ensure!(
                self.email.is_none() && self.ca_file.is_none() && self.external_key_id.is_none(),
                "acme.directory_url is missing; the other keys of [acme] mean nothing without it"
            );
            return Ok(None);
        };
        anyhow::ensure!(
            directory_url.starts_with("https://"),
            "acme.directory_url `{directory_url}`: expected an https address"
        );
        if let Some(email) = &self.email {
            anyhow::ensure!(
                email.contains('@') && !email.contains(char::is_whitespace),
                "acme.email `{email}` is not an e-mail address"
            );
        }
        if let Some(file) = &self.ca_file {
            anyhow::ensure!(
                file.is_file(),
                "acme.ca_file {} is not a file",
                file.display()
            );
        }
        let external_account = match (self.external_key_id, self.external_key_file) {
            (None, None) => None,
            (Some(id), Some(file)) => {
                let key = std::fs::read_to_string(&file)
                    .with_context(|| format!("read acme.external_key_file {}", file.display()))?;
                Some((id, Secret::new(key.trim())))
            }
            _ => anyhow::bail!("acme.external_key_id and acme.external_key_file go together"),
        };
        Ok(Some(AcmeConfig {
            directory_url,
            email: self.email,
            ca_file: self.ca_file,
            external_account,
        }))
    }
}

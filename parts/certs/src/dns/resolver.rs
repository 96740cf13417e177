use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mayfly_runtime::Entropy;
use mayfly_types::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{Answer, DATAGRAM, Data, Kind, Outcome, answer, question};

/// For one question to one server.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the list of servers is gone through.
const ROUNDS: usize = 2;

/// Aliases that lead to aliases.
const ALIASES_MAX: usize = 8;

/// Asks a fixed list of recursive servers. Clones share it.
#[derive(Clone)]
pub struct Resolver {
    servers: Arc<[SocketAddr]>,
    entropy: Arc<dyn Entropy>,
}

/// Why a name could not be looked up. A name without records is no error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    #[error("no DNS server is configured")]
    NoServers,
    #[error("`{0}` cannot be asked for")]
    NoName(String),
    #[error("no DNS server answered for {name}")]
    Silent { name: String },
    #[error("the DNS server {server} failed to look up {name} (code {code})")]
    Failed {
        server: SocketAddr,
        name: String,
        code: u8,
    },
    #[error("{name} is an alias without an end")]
    Loop { name: String },
}

impl DnsError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            DnsError::NoServers | DnsError::NoName(_) | DnsError::Loop { .. } => ErrorKind::Invalid,
            DnsError::Silent { .. } | DnsError::Failed { .. } => ErrorKind::Unavailable,
        }
    }
}

/// The servers this system asks (`/etc/resolv.conf`).
pub fn system_servers() -> Vec<SocketAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("nameserver")?
                .trim()
                .parse::<IpAddr>()
                .ok()
        })
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

impl Resolver {
    pub fn new(servers: Vec<SocketAddr>, entropy: Arc<dyn Entropy>) -> Resolver {
        Resolver {
            servers: servers.into(),
            entropy,
        }
    }

    /// Addresses of version 4 at the end of whatever aliases there are.
    pub async fn a(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        let found = self.followed(name, Kind::A, |data| match data {
            Data::A(ip) => Some(*ip),
            _ => None,
        });
        found.await
    }

    /// Addresses of version 6 at the end of whatever aliases there are.
    pub async fn aaaa(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        let found = self.followed(name, Kind::Aaaa, |data| match data {
            Data::Aaaa(ip) => Some(*ip),
            _ => None,
        });
        found.await
    }

    /// Texts at the end of whatever aliases there are; the strings of a record are joined.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let found = self.followed(name, Kind::Txt, |data| match data {
            Data::Txt(text) => Some(text.clone()),
            _ => None,
        });
        found.await
    }

    /// What `name` itself is an alias of.
    pub async fn cname(&self, name: &str) -> Result<Option<String>, DnsError> {
        let name = name.to_ascii_lowercase();
        let answer = self.ask(&name, Kind::Cname).await?;
        Ok(alias(&answer, &name))
    }

    /// The first name server of the zone `name` lies in.
    pub async fn soa(&self, name: &str) -> Result<Option<String>, DnsError> {
        let mut zone = name.to_ascii_lowercase();
        loop {
            let answer = self.ask(&zone, Kind::Soa).await?;
            let found = answer.records.iter().find_map(|record| match &record.data {
                Data::Soa(server) if !server.is_empty() => Some(server.clone()),
                _ => None,
            });
            match (found, zone.split_once('.')) {
                (Some(server), _) => return Ok(Some(server)),
                (None, Some((_, parent))) => zone = parent.to_owned(),
                (None, None) => return Ok(None),
            }
        }
    }

    /// Records of a kind under `name`, or under what it is an alias of. A server that recurses gives both at once.
    async fn followed<T>(
        &self,
        name: &str,
        kind: Kind,
        wanted: impl Fn(&Data) -> Option<T>,
    ) -> Result<Vec<T>, DnsError> {
        let mut current = name.to_ascii_lowercase();
        let mut seen = BTreeSet::new();
        while seen.len() < ALIASES_MAX && seen.insert(current.clone()) {
            let answer = self.ask(&current, kind).await?;
            let mut end = current.clone();
            let mut steps = 0;
            while let Some(target) = alias(&answer, &end) {
                end = target;
                steps += 1;
                if steps > ALIASES_MAX {
                    return Err(DnsError::Loop {
                        name: name.to_owned(),
                    });
                }
            }
            let records = answer.records.iter().filter(|record| record.name == end);
            let found: Vec<T> = records.filter_map(|record| wanted(&record.data)).collect();
            if !found.is_empty() || end == current {
                return Ok(found);
            }
            current = end;
        }
        Err(DnsError::Loop {
            name: name.to_owned(),
        })
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, DnsError> {
        if self.servers.is_empty() {
            return Err(DnsError::NoServers);
        }
        let mut failure = DnsError::Silent {
            name: name.to_owned(),
        };
        for server in self
            .servers
            .iter()
            .cycle()
            .take(self.servers.len() * ROUNDS)
        {
            let id = u16::from_be_bytes(self.entropy.bytes());
            let asked =
                question(id, name, kind).ok_or_else(|| DnsError::NoName(name.to_owned()))?;
            let mut found = timeout(PATIENCE, by_datagram(*server, &asked, id, name, kind)).await;
            if matches!(&found, Ok(Ok(Some(answer))) if answer.truncated) {
                found = timeout(PATIENCE, by_stream(*server, &asked, id, name, kind)).await;
            }
            // Silence and nonsense: the next server, or the next round.
            let Ok(Ok(Some(answer))) = found else {
                continue;
            };
            match answer.outcome {
                Outcome::Found | Outcome::NoSuchName => return Ok(answer),
                Outcome::Failed(code) => {
                    failure = DnsError::Failed {
                        server: *server,
                        name: name.to_owned(),
                        code,
                    };
                }
            }
        }
        Err(failure)
    }
}

fn alias(answer: &Answer, name: &str) -> Option<String> {
    answer.records.iter().find_map(|record| match &record.data {
        Data::Cname(target) if record.name == name => Some(target.clone()),
        _ => None,
    })
}

async fn by_datagram(
    server: SocketAddr,
    asked: &[u8],
    id: u16,
    name: &str,
    kind: Kind,
) -> io::Result<Option<Answer>> {
    let unspecified: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A new port for every question: together with the number hard to guess for who wants to answer in between.
    let socket = UdpSocket::bind((unspecified, 0)).await?;
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut buffer = vec![0; usize::from(DATAGRAM)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever else arrives is not for us.
        if let Some(answer) = answer(&buffer[..length], id, name, kind) {
            return Ok(Some(answer));
        }
    }
}

async fn by_stream(
    server: SocketAddr,
    asked: &[u8],
    id: u16,
    name: &str,
    kind: Kind,
) -> io::Result<Option<Answer>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).expect("a question is short");
    stream
        .write_all(&[&length.to_be_bytes(), asked].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(answer(&message, id, name, kind))
}

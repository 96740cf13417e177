use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mayfly_edge_api::{Challenge, Directory};
use mayfly_runtime::Stop;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::listener::{Answers, ListenError, Outcome, TCP_MAX, bind, serve};
use crate::message::{
    Authority, Content, Query, Rcode, TYPE_ANY, TYPE_TXT, Unreadable, answer, refusal,
};

/// Values change with every order.
const TTL: u32 = 1;

/// The zone into which owners of names point `_acme-challenge.<name>`, so that a new proof needs no change of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengesConfig {
    /// Port 0 chooses a free one, the same for UDP and TCP. The world's port is 53.
    pub listen: SocketAddr,
    /// Lower case, without a dot at either end; the proof of `example.com` is at `example.com.<zone>`.
    pub zone: String,
}

/// Answers for that zone and for nothing else, whoever asks.
pub struct ChallengeServer {
    address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
    desk: Arc<ChallengeDesk>,
}

impl ChallengesConfig {
    /// Binds both sockets.
    pub async fn build(
        self,
        directory: watch::Receiver<Arc<Directory>>,
    ) -> Result<ChallengeServer, ListenError> {
        let (address, udp, tcp) = bind(self.listen).await?;
        let desk = Arc::new(ChallengeDesk {
            zone: self.zone,
            directory,
        });
        Ok(ChallengeServer {
            address,
            udp,
            tcp,
            desk,
        })
    }
}

impl ChallengeServer {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: Stop) {
        serve(self.desk, self.udp, self.tcp, stop).await;
    }
}

struct ChallengeDesk {
    zone: String,
    directory: watch::Receiver<Arc<Directory>>,
}

impl ChallengeDesk {
    /// What is to be shown for a host name; several orders may be under way at once.
    fn values(&self, hostname: &str) -> Vec<String> {
        let directory = self.directory.borrow();
        let shown = directory.challenges.iter().filter_map(|open| match open {
            Challenge::Dns01 {
                hostname: of,
                value,
            } if of == hostname => Some(value.clone()),
            _ => None,
        });
        shown.collect()
    }
}

impl Answers for ChallengeDesk {
    fn reply(&self, bytes: &[u8], _: IpAddr, by_tcp: bool) -> Outcome {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Unreadable::Ignore) => return Outcome::Ignore,
            Err(Unreadable::Refuse { id, flags, rcode }) => {
                return Outcome::Answer(refusal(id, flags, rcode));
            }
        };
        let limit = if by_tcp { TCP_MAX } else { query.payload() };
        let zone = Authority { zone: &self.zone };
        let say = |rcode, content: &Content, zone: Option<&Authority<'_>>| {
            Outcome::Answer(answer(&query, rcode, content, zone, TTL, limit))
        };
        if query.has_bad_version() {
            return say(Rcode::NoError, &Content::Nothing, None);
        }
        if !query.is_internet() {
            return say(Rcode::NotImplemented, &Content::Nothing, None);
        }
        let Some(below) = query.name.strip_suffix(self.zone.as_str()) else {
            return say(Rcode::Refused, &Content::Nothing, None);
        };
        let Some(hostname) = below.strip_suffix('.') else {
            // The zone itself, or a name that only ends alike.
            let rcode = if below.is_empty() {
                Rcode::NoError
            } else {
                Rcode::Refused
            };
            return say(rcode, &Content::Nothing, below.is_empty().then_some(&zone));
        };
        let values = self.values(hostname);
        match query.kind {
            TYPE_TXT | TYPE_ANY if !values.is_empty() => {
                say(Rcode::NoError, &Content::Texts(values), Some(&zone))
            }
            // A name without a proof exists all the same: what is below it may have one.
            _ => say(Rcode::NoError, &Content::Nothing, Some(&zone)),
        }
    }

    async fn forward(&self, _: &[u8], _: bool) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    #[test]
    fn proofs_are_shown_under_their_names_and_nothing_else_is() {
        let proof = |value: &str| Challenge::Dns01 {
            hostname: "shop.test".to_owned(),
            value: value.to_owned(),
        };
        let directory = Directory {
            challenges: vec![proof("first-proof"), proof("second-proof")],
            ..Directory::default()
        };
        let (_sender, directory) = watch::channel(Arc::new(directory));
        let desk = ChallengeDesk {
            zone: "acme.cloud.test".to_owned(),
            directory,
        };
        let ask = |name: &str, kind| {
            let asked = desk.reply(&question(name, kind), [192, 0, 2, 1].into(), false);
            let Outcome::Answer(bytes) = asked else {
                panic!("{name} is not answered");
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            (bytes[3] & 15, bytes[7], bytes[9], text)
        };
        let (rcode, answers, _, text) = ask("Shop.Test.acme.cloud.test", TYPE_TXT);
        assert_eq!((rcode, answers), (0, 2));
        assert!(text.contains("first-proof") && text.contains("second-proof"));
        for (name, kind, expected) in [
            ("shop.test.acme.cloud.test", 1, (0, 0, 1)),
            ("other.test.acme.cloud.test", TYPE_TXT, (0, 0, 1)),
            ("acme.cloud.test", 6, (0, 0, 1)),
            ("shop.test", TYPE_TXT, (5, 0, 0)),
            ("shop.test.xacme.cloud.test", TYPE_TXT, (5, 0, 0)),
        ] {
            let (rcode, answers, authorities, _) = ask(name, kind);
            assert_eq!((rcode, answers, authorities), expected, "{name}");
        }
    }
}

mod udp;

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use mayfly_edge_api::Directory;
use mayfly_host_api::Catalog;
use mayfly_runtime::{Entropy, Stop, TaskSet};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::forward::Forwarder;
use crate::listener::{Answers, DRAIN, ListenError, Outcome, TCP_MAX, serve_tcp};
use crate::message::{
    Authority, Content, Query, Rcode, TYPE_AAAA, TYPE_ANY, TYPE_PTR, TYPE_TXT, Unreadable, answer,
    refusal,
};
use crate::zone::{Asker, Found, Kind, Names};

/// Seconds that answers of ours may be remembered.
const TTL: u32 = 5;
/// Where names are served, and where others are asked.
#[derive(Clone, Debug)]
pub struct NamesConfig {
    /// Port 0 chooses a free one, the same for UDP and TCP.
    pub listen: SocketAddrV6,
    /// Sockets that questions by UDP are spread over; one per core is plenty.
    pub cores: usize,
    /// Resolvers for every name that is not ours, asked in this order.
    pub upstreams: Vec<SocketAddr>,
}

/// A bound server of names; nothing is answered before [`NameServer::run`].
pub struct NameServer {
    address: SocketAddrV6,
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
    desk: Arc<Desk>,
    sources: Sources,
}

/// What names are made of.
pub struct Sources {
    pub catalog: watch::Receiver<Catalog>,
    pub directory: watch::Receiver<Arc<Directory>>,
}

impl NamesConfig {
    /// Binds all sockets.
    pub async fn build(
        self,
        sources: Sources,
        entropy: Arc<dyn Entropy>,
    ) -> Result<NameServer, ListenError> {
        let failed = |source| ListenError {
            address: self.listen.into(),
            source,
        };
        let first = udp::bind_shared(self.listen).map_err(failed)?;
        let mut address = self.listen;
        address.set_port(first.local_addr().map_err(failed)?.port());
        let mut udp = vec![first];
        while udp.len() < self.cores {
            udp.push(udp::bind_shared(address).map_err(failed)?);
        }
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let desk = Arc::new(Desk {
            names: watch::Sender::new(Arc::new(sources.read())),
            forwarder: Forwarder::new(self.upstreams, Arc::clone(&entropy)),
            entropy,
        });
        Ok(NameServer {
            address,
            udp,
            tcp,
            desk,
            sources,
        })
    }
}

impl Sources {
    fn read(&self) -> Names {
        Names::new(&self.catalog.borrow(), &self.directory.borrow())
    }
}

impl NameServer {
    pub fn address(&self) -> SocketAddr {
        self.address.into()
    }

    /// Where others of this process ask, on behalf of somebody outside.
    pub fn desk(&self) -> NamesDesk {
        NamesDesk(Arc::clone(&self.desk))
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: Stop) {
        let NameServer {
            udp,
            tcp,
            desk,
            sources,
            ..
        } = self;
        let tasks = TaskSet::new();
        let follower = Arc::clone(&desk);
        tasks
            .spawn("names.follow", move |stop| follow(follower, sources, stop))
            .await;
        for socket in udp {
            let desk = Arc::clone(&desk);
            tasks
                .spawn("names.udp", move |stop| udp::serve(desk, socket, stop))
                .await;
        }
        tasks
            .spawn("names.tcp", move |stop| serve_tcp(desk, tcp, stop))
            .await;
        stop.cancelled().await;
        tasks.shut_down(DRAIN).await;
    }
}

/// Makes the names anew at every change of what they are made of.
async fn follow(desk: Arc<Desk>, mut sources: Sources, stop: Stop) {
    loop {
        desk.names.send_replace(Arc::new(sources.read()));
        let changed = async {
            tokio::select! {
                changed = sources.directory.changed() => changed,
                changed = sources.catalog.changed() => changed,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            // Whoever published is gone: go on with the last thing known.
            changed = changed => if changed.is_err() {
                stop.cancelled().await;
                return;
            },
        }
    }
}

/// Asks the server of names within the process; cheap to clone.
#[derive(Clone)]
pub struct NamesDesk(Arc<Desk>);

impl NamesDesk {
    /// The addresses of one of our names, in random order unless the name asks for one; empty if it has none.
    pub fn addresses(&self, asker: &Asker, name: &str) -> Vec<Ipv6Addr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let names = Arc::clone(&self.0.names.borrow());
        match names.find(asker, &name, Kind::Aaaa) {
            Some(Found::Addresses(addresses)) => self.0.shuffled(addresses),
            Some(Found::Ordered(addresses)) => addresses,
            _ => Vec::new(),
        }
    }

    /// Answers a DNS message as it would be answered over TCP; `None` if it is none.
    pub async fn ask(&self, asker: &Asker, message: &[u8]) -> Option<Vec<u8>> {
        match self.0.answer(message, Some(asker), true).0 {
            Outcome::Answer(answer) => Some(answer),
            Outcome::Forward => self.0.forward(message, true).await,
            Outcome::Ignore => None,
        }
    }
}

/// Where questions are answered, whatever way they came.
struct Desk {
    names: watch::Sender<Arc<Names>>,
    forwarder: Forwarder,
    entropy: Arc<dyn Entropy>,
}

/// Whether an answer to the same question from the same network is the same while names stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// It depends on who asks, or on others, or is not whole.
    Once,
    Fixed,
    /// But for the order of its address records, which begin behind the question of so many bytes.
    Shuffled {
        question: usize,
    },
}

impl Desk {
    fn asker(&self, address: IpAddr) -> Option<Asker> {
        match address {
            IpAddr::V6(address) => self.names.borrow().asker(address),
            IpAddr::V4(_) => None,
        }
    }

    /// Strangers are refused.
    fn answer(&self, bytes: &[u8], asker: Option<&Asker>, by_tcp: bool) -> (Outcome, Shape) {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Unreadable::Ignore) => return (Outcome::Ignore, Shape::Once),
            Err(Unreadable::Refuse { id, flags, rcode }) => {
                return (Outcome::Answer(refusal(id, flags, rcode)), Shape::Once);
            }
        };
        let limit = if by_tcp { TCP_MAX } else { query.payload() };
        let say = |rcode, content: &Content, zone: Option<&Authority<'_>>| {
            let message = answer(&query, rcode, content, zone, TTL, limit);
            let is_cut = message[2] & 2 != 0;
            let shape = match content {
                _ if zone.is_none() || is_cut => Shape::Once,
                Content::Addresses(_) => Shape::Shuffled {
                    question: query.question.len(),
                },
                _ => Shape::Fixed,
            };
            (Outcome::Answer(message), shape)
        };
        if query.has_bad_version() {
            return say(Rcode::NoError, &Content::Nothing, None);
        }
        if !query.is_internet() {
            return say(Rcode::NotImplemented, &Content::Nothing, None);
        }
        let names = Arc::clone(&self.names.borrow());
        let Some(asker) = asker else {
            return say(Rcode::Refused, &Content::Nothing, None);
        };
        let kind = match query.kind {
            TYPE_AAAA | TYPE_ANY => Kind::Aaaa,
            TYPE_TXT => Kind::Txt,
            TYPE_PTR => Kind::Ptr,
            _ => Kind::Other,
        };
        let Some(found) = names.find(asker, &query.name, kind) else {
            let outcome = match self.forwarder.remembered(&query) {
                Some(answer) if answer.len() <= limit => Outcome::Answer(answer),
                Some(_) => Outcome::Answer(cut(&query)),
                None if query.wants_recursion() => Outcome::Forward,
                None => return say(Rcode::Refused, &Content::Nothing, None),
            };
            return (outcome, Shape::Once);
        };
        let zone = Authority {
            zone: match query.name.rsplit('.').next() {
                Some("flycast") => "flycast",
                Some("arpa") => "a.a.d.f.ip6.arpa",
                _ => "internal",
            },
        };
        match found {
            Found::Addresses(addresses) => {
                let content = Content::Addresses(self.shuffled(addresses));
                say(Rcode::NoError, &content, Some(&zone))
            }
            Found::Ordered(addresses) => {
                let content = Content::Addresses(addresses);
                (say(Rcode::NoError, &content, Some(&zone)).0, Shape::Once)
            }
            Found::Text(text) => say(Rcode::NoError, &Content::Texts(vec![text]), Some(&zone)),
            Found::Pointer(name) => say(Rcode::NoError, &Content::Pointer(name), Some(&zone)),
            Found::NoRecord => say(Rcode::NoError, &Content::Nothing, Some(&zone)),
            Found::NoName => say(Rcode::NoSuchName, &Content::Nothing, Some(&zone)),
        }
    }

    /// Where a chain of pseudo-random numbers may begin; never 0.
    fn seed(&self) -> u64 {
        u64::from_le_bytes(self.entropy.bytes()) | 1
    }

    /// Many clients take the first address only.
    fn shuffled(&self, mut addresses: Vec<Ipv6Addr>) -> Vec<Ipv6Addr> {
        let mut state = self.seed();
        for left in (1..addresses.len()).rev() {
            // xorshift: fair enough, and one look at the source of randomness per answer.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let other = usize::try_from(state % (left as u64 + 1)).unwrap_or(0);
            addresses.swap(left, other);
        }
        addresses
    }
}

impl Answers for Desk {
    fn reply(&self, bytes: &[u8], asker: IpAddr, by_tcp: bool) -> Outcome {
        self.answer(bytes, self.asker(asker).as_ref(), by_tcp).0
    }

    async fn forward(&self, bytes: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
        let query = Query::parse(bytes).ok()?;
        let limit = if by_tcp { TCP_MAX } else { query.payload() };
        Some(match self.forwarder.ask(&query, bytes).await {
            Ok(message) if message.len() <= limit => message,
            Ok(_) => cut(&query),
            Err(error) => {
                tracing::debug!(
                    error = mayfly_runtime::report(&error),
                    "question not answered"
                );
                answer(
                    &query,
                    Rcode::ServerFailure,
                    &Content::Nothing,
                    None,
                    TTL,
                    limit,
                )
            }
        })
    }
}

/// An answer that is too long for UDP: the asker comes again by TCP.
fn cut(query: &Query<'_>) -> Vec<u8> {
    let mut message = answer(query, Rcode::NoError, &Content::Nothing, None, TTL, TCP_MAX);
    message[2] |= 2;
    message
}

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

/// Types of records, by their numbers (RFC 1035, 3.2.2).
const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const AAAA: u16 = 28;

/// A DNS server on a port of its own that says what a test has told it to, following aliases as a recursive one does.
/// It ends with the test process.
#[derive(Clone, Debug)]
pub struct FakeDns {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    /// By name, then type and content as it goes over the wire.
    own: BTreeMap<String, Vec<(u16, Vec<u8>)>>,
    /// Zones that other servers answer for.
    delegated: Vec<(String, SocketAddr)>,
}

impl FakeDns {
    /// # Panics
    /// If there is no free port.
    pub fn start() -> Self {
        let (socket, listener) = bound();
        let server = Self {
            address: socket.local_addr().expect("a bound socket has an address"),
            records: Arc::default(),
        };
        let records = server.records.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let records = records.clone();
                std::thread::spawn(move || over_stream(stream, &records));
            }
        });
        let records = server.records.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let records = records.lock().expect("no holder of this lock panics");
                if let Some(answer) = answer(&buffer[..length], &records) {
                    // Whoever asked and went away does not want it.
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn add(&self, name: &str, kind: u16, content: Vec<u8>) {
        let mut records = self.records.lock().expect("no holder of this lock panics");
        let name = name.to_ascii_lowercase();
        records.own.entry(name).or_default().push((kind, content));
    }

    /// An A or AAAA record.
    ///
    /// # Panics
    /// If `ip` is no address.
    pub fn point(&self, name: &str, ip: &str) {
        match ip.parse().expect("an address") {
            IpAddr::V4(ip) => self.add(name, A, ip.octets().to_vec()),
            IpAddr::V6(ip) => self.add(name, AAAA, ip.octets().to_vec()),
        }
    }

    pub fn alias(&self, name: &str, target: &str) {
        self.add(name, CNAME, wire_name(target));
    }

    /// A TXT record of one string.
    ///
    /// # Panics
    /// If `text` is longer than 255 bytes.
    pub fn text(&self, name: &str, text: &str) {
        let length = u8::try_from(text.len()).expect("a string of at most 255 bytes");
        self.add(name, TXT, [&[length], text.as_bytes()].concat());
    }

    /// Forgets everything about a name.
    pub fn forget(&self, name: &str) {
        let mut records = self.records.lock().expect("no holder of this lock panics");
        records.own.remove(&name.to_ascii_lowercase());
    }

    /// From now on names below `zone` are asked for at `server`.
    pub fn delegate(&self, zone: &str, server: SocketAddr) {
        let mut records = self.records.lock().expect("no holder of this lock panics");
        records.delegated.push((format!(".{zone}"), server));
    }
}

/// One port for datagrams and streams: some clients only use the latter.
fn bound() -> (UdpSocket, TcpListener) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        // The same port may be somebody's already.
        if let Ok(socket) = UdpSocket::bind(address) {
            return (socket, listener);
        }
    }
}

/// Answers until the client is done; each message has its length in front (RFC 1035, 4.2.2).
fn over_stream(mut stream: TcpStream, records: &Mutex<Records>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let records = records.lock().expect("no holder of this lock panics");
        let Some(answer) = answer(&question, &records) else {
            return;
        };
        let length = u16::try_from(answer.len()).expect("answers of tests are short");
        if stream
            .write_all(&[&length.to_be_bytes()[..], &answer].concat())
            .is_err()
        {
            return;
        }
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        wire.push(u8::try_from(label.len()).expect("labels are short"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn answer(question: &[u8], records: &Records) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let asked = question.get(12..at + 4)?;
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let mut name = labels.join(".");
    let known = records.own.contains_key(&name);
    let mut found = Vec::new();
    // No test makes longer chains.
    for _ in 0..4 {
        let here = records.own.get(&name).map_or(&[][..], Vec::as_slice);
        let mut next = None;
        let zones = records.delegated.iter();
        for (_, server) in zones.filter(|(zone, _)| name.ends_with(zone)) {
            let contents = elsewhere(*server, &name, kind).unwrap_or_default();
            found.extend(contents.into_iter().map(|data| (name.clone(), kind, data)));
        }
        for (of, content) in here {
            if *of == kind || *of == CNAME {
                found.push((name.clone(), *of, content.clone()));
            }
            if *of == CNAME && kind != CNAME {
                next = Some(text_name(content));
            }
        }
        match next {
            Some(target) => name = target,
            None => break,
        }
    }
    let mut message = question[..2].to_vec();
    // An answer to a question for recursion; code 3: there is no such name.
    let flags: u16 = if known { 0x8180 } else { 0x8183 };
    let count = u16::try_from(found.len()).ok()?;
    for word in [flags, 1, count, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(asked);
    for (name, kind, content) in found {
        message.extend(wire_name(&name));
        let length = u16::try_from(content.len()).ok()?;
        for word in [kind, 1, 0, 0, length] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend(content);
    }
    Some(message)
}

/// Contents of the records of one kind that another server has for `name`, whose names are pointers.
fn elsewhere(server: SocketAddr, name: &str, kind: u16) -> Option<Vec<Vec<u8>>> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    let patience = std::time::Duration::from_secs(5);
    socket.set_read_timeout(Some(patience)).ok()?;
    let mut question = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(wire_name(name));
    question.extend(kind.to_be_bytes());
    question.extend([0, 1]);
    socket.send_to(&question, server).ok()?;
    let mut answer = [0; 1500];
    let (length, _) = socket.recv_from(&mut answer).ok()?;
    let word = |at: usize| {
        Some(u16::from_be_bytes(
            answer[..length].get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let mut at = question.len();
    let mut contents = Vec::new();
    for _ in 0..word(6)? {
        let end = at + 12 + usize::from(word(at + 10)?);
        if word(at + 2)? == kind {
            contents.push(answer[..length].get(at + 12..end)?.to_vec());
        }
        at = end;
    }
    Some(contents)
}

fn text_name(wire: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&length, behind)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, behind) = behind.split_at(usize::from(length));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = behind;
    }
    labels.join(".")
}

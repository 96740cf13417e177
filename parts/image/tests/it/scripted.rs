//! A registry that misbehaves as a test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_types::Digest;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where a wanted range begins.
    pub(crate) fn from(&self) -> usize {
        let range = self.header("range").unwrap_or("bytes=0-");
        let digits = range.trim_start_matches("bytes=").trim_end_matches('-');
        digits.parse().unwrap()
    }
}

/// What to say, and how to break off saying it.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Say nothing more after so many bytes of the body.
    pub(crate) stall: Option<usize>,
    /// Pause after each piece of the body.
    pub(crate) slow: Option<Duration>,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// The rest of a body as the request's range asks for it.
    pub(crate) fn ranged(asked: &Asked, body: &[u8]) -> Self {
        let from = asked.from();
        if from == 0 {
            return Self::ok(body);
        }
        let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
        Self {
            status: 206,
            ..Self::ok(&body[from..])
        }
        .with("content-range", &range)
    }
}

type Script = dyn Fn(&Asked) -> Option<Reply> + Send + Sync;

/// Serves the blobs and manifests of an OCI layout; the script may answer first.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub(crate) fn start(
        layout: &Path,
        script: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let layout = layout.to_owned();
        let script: Arc<Script> = Arc::new(script);
        let log = asked.clone();
        // Ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (layout, script, log) = (layout.clone(), script.clone(), log.clone());
                std::thread::spawn(move || answer(stream, &layout, &*script, &log));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Requests for one blob.
    pub(crate) fn asked_for(&self, digest: Digest) -> Vec<Asked> {
        let path = format!("blobs/{digest}");
        let asked = self.asked();
        asked
            .into_iter()
            .filter(|asked| asked.path.ends_with(&path))
            .collect()
    }

    pub(crate) fn image(&self, name: &str) -> mayfly_types::ImageRef {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

fn answer(mut stream: TcpStream, layout: &Path, script: &Script, log: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_lowercase(), value.to_owned()))
        })
        .collect();
    let asked = Asked { path, headers };
    log.lock().unwrap().push(asked.clone());
    let reply = script(&asked).unwrap_or_else(|| stored(&asked, layout));
    let _ = say(&mut stream, &reply);
}

fn stored(asked: &Asked, layout: &Path) -> Reply {
    let name = asked.path.rsplit('/').next().unwrap();
    let digest = match name.strip_prefix("sha256:") {
        Some(hex) => hex.to_owned(),
        // A tag: the only image of the layout.
        None => {
            let index = std::fs::read(layout.join("index.json")).unwrap();
            let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
            let digest = index["manifests"][0]["digest"].as_str().unwrap();
            digest.trim_start_matches("sha256:").to_owned()
        }
    };
    match std::fs::read(layout.join("blobs/sha256").join(digest)) {
        Ok(bytes) => Reply::ranged(asked, &bytes),
        Err(_) => Reply::status(404),
    }
}

fn say(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let end = reply.cut.or(reply.stall).unwrap_or(reply.body.len());
    for piece in reply.body[..end.min(reply.body.len())].chunks(64 * 1024) {
        stream.write_all(piece)?;
        if let Some(pause) = reply.slow {
            std::thread::sleep(pause);
        }
    }
    if reply.stall.is_some() {
        // Until the client gives up.
        let _ = stream.read(&mut [0; 1]);
    }
    Ok(())
}

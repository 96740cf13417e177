//! Layers pushed and pulled, beside Debian's docker-registry on the same disk: time, and CPU time of the registry.
//!
//! Ours is a whole cloud that asks its store about the token at every request; the peer asks nobody. Clients are four at
//! once and do not count as CPU time: curl pushes, and what is pulled is thrown away by the kernel when it has come
//! (`MSG_TRUNC`), since a client that copies it takes longer for that than either registry.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mayfly_testing::{DockerRegistry, TestCloud};
use rustix::net::{RecvFlags, recv};
use serde_json::json;
use tempfile::TempDir;

use crate::cpu::cpu_of;
use crate::stats::Pairs;

const LAYERS: usize = 4;
const LAYER_BYTES: usize = 64 << 20;
const ROUNDS: usize = 7;
const REPOSITORY: &str = "bench";
const READ_AT_ONCE: usize = 256 << 10;

pub(crate) fn run() -> Result<()> {
    let cloud = TestCloud::start();
    let app = json!({"app_name": REPOSITORY, "org_slug": "personal"});
    ensure!(cloud.post("/v1/apps", app).status == 201, "create the app");
    let ours = Registry {
        address: cloud.api(),
        pid: cloud.daemon_pid(),
        login: format!("x:{}", cloud.token()),
    };
    let peer = DockerRegistry::start();
    let theirs = Registry {
        address: peer.address().parse()?,
        pid: peer.pid(),
        login: "nobody:nothing".to_owned(),
    };
    let (mut push, mut push_cpu) = (Pairs::default(), Pairs::default());
    let (mut pull, mut pull_cpu) = (Pairs::default(), Pairs::default());
    for round in 0..=ROUNDS {
        let layers = Layers::make(round)?;
        let (sent, sent_there) = (ours.push(&layers)?, theirs.push(&layers)?);
        let (got, got_there) = (ours.pull(&layers)?, theirs.pull(&layers)?);
        // The first round warms up.
        if round > 0 {
            push.add(sent.time, sent_there.time);
            push_cpu.add(sent.cpu, sent_there.cpu);
            pull.add(got.time, got_there.time);
            pull_cpu.add(got.cpu, got_there.cpu);
        }
    }
    println!("{LAYERS} layers of {} MiB at once:", LAYER_BYTES >> 20);
    push.print("push", "docker-registry");
    push_cpu.print("CPU time of a push", "docker-registry");
    pull.print("pull", "docker-registry");
    pull_cpu.print("CPU time of a pull", "docker-registry");
    Ok(())
}

/// Files that nobody has seen before, and their digests.
struct Layers {
    _directory: TempDir,
    files: Vec<(PathBuf, String)>,
}

impl Layers {
    fn make(round: usize) -> Result<Layers> {
        let directory = tempfile::tempdir()?;
        let mut files = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let path = directory.path().join(layer.to_string());
            let seed = (round * LAYERS + layer + 1) as u64;
            File::create(&path)?.write_all(&noise(seed))?;
            let output = Command::new("sha256sum").arg(&path).output()?;
            let text = String::from_utf8(output.stdout)?;
            let hex = text
                .split_whitespace()
                .next()
                .context("sha256sum answers")?;
            files.push((path, format!("sha256:{hex}")));
        }
        Ok(Layers {
            _directory: directory,
            files,
        })
    }
}

/// Bytes that follow from a seed and from nothing that was there before.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(LAYER_BYTES);
    while bytes.len() < LAYER_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

struct Spent {
    time: Duration,
    cpu: Duration,
}

struct Registry {
    address: SocketAddr,
    pid: u32,
    /// User name and password.
    login: String,
}

impl Registry {
    fn push(&self, layers: &Layers) -> Result<Spent> {
        self.spend(layers, |path, digest| {
            let uploads = format!("http://{}/v2/{REPOSITORY}/blobs/uploads/", self.address);
            let begun = self.curl(&["-X", "POST", "-w", "%header{location}", &uploads])?;
            // Some answer with a path, others with a whole address that has parameters.
            let begun = match begun.starts_with('/') {
                true => format!("http://{}{begun}", self.address),
                false => begun,
            };
            let mark = if begun.contains('?') { '&' } else { '?' };
            let target = format!("{begun}{mark}digest={digest}");
            let kind = "content-type: application/octet-stream";
            let path = path.to_string_lossy();
            self.curl(&["-T", &path, "-H", kind, &target]).map(drop)
        })
    }

    fn pull(&self, layers: &Layers) -> Result<Spent> {
        self.spend(layers, |_, digest| self.read(digest))
    }

    fn read(&self, digest: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        let login = STANDARD.encode(&self.login);
        write!(
            stream,
            "GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {login}\r\n\
             connection: close\r\n\r\n",
            self.address
        )?;
        let mut buffer = vec![0; READ_AT_ONCE];
        let mut length = stream.read(&mut buffer)?;
        let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
        ensure!(head.starts_with("HTTP/1.1 200 "), "a layer: {head}");
        let head = head.find("\r\n\r\n").context("a head comes at once")? + 4;
        loop {
            match recv(&stream, &mut buffer, RecvFlags::TRUNC)?.1 {
                0 => break,
                count => length += count,
            }
        }
        ensure!(length == head + LAYER_BYTES, "a layer of {length} bytes");
        Ok(())
    }

    /// Does something with all layers at once.
    fn spend(
        &self,
        layers: &Layers,
        work: impl Fn(&Path, &str) -> Result<()> + Sync,
    ) -> Result<Spent> {
        let (began, before) = (Instant::now(), cpu_of(self.pid)?);
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = layers
                .files
                .iter()
                .map(|(path, digest)| scope.spawn(move || work(path, digest)))
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("a client does not panic"))
        })?;
        Ok(Spent {
            time: began.elapsed(),
            cpu: cpu_of(self.pid)? - before,
        })
    }

    /// What curl was asked to write out.
    fn curl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "-o", "/dev/null", "-u", &self.login])
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "curl {arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

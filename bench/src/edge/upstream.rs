//! The program in the machine: answers of fixed sizes, prepared once, from one thread: what it costs to wake one thread
//! per connection would be counted as the proxies' own.

use std::net::Ipv6Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The argument that makes this program serve as the upstream.
pub(crate) const ROLE: &str = "--serve-upstream";
pub(super) const PORT: u16 = 8080;

const CHUNK: usize = 4096;

/// Files that the dynamic loader needs to run `program`, itself included.
pub(super) fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("run ldd")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect())
}

struct Answers {
    tiny: Vec<u8>,
    large: Vec<u8>,
    chunked: Vec<u8>,
    huge: Vec<u8>,
}

impl Answers {
    fn new() -> Answers {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
        let whole = |length: usize| {
            let mut answer = format!("{head}Content-Length: {length}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + length, b'x');
            answer
        };
        let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..64 * 1024 / CHUNK {
            chunked.extend_from_slice(format!("{CHUNK:x}\r\n").as_bytes());
            chunked.resize(chunked.len() + CHUNK, b'x');
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        Answers {
            tiny: whole(128),
            large: whole(64 * 1024),
            chunked,
            huge: whole(1 << 20),
        }
    }
}

pub(crate) fn serve() -> Result<()> {
    let answers: &'static Answers = Box::leak(Box::new(Answers::new()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v6()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv6Addr::UNSPECIFIED, PORT).into())?;
        // A proxy that connects for all its clients at once shall not be measured waiting for a second try.
        let listener = socket.listen(4096)?;
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            // A peer that is gone ends the connection and nothing else.
            open.spawn(answer(stream, answers));
            while open.try_join_next().is_some() {}
        }
    })
}

async fn answer(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        while let Some(end) = buffer[..filled]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            let mut words = buffer[..end].split(|byte| *byte == b' ');
            let answer = match words.nth(1).unwrap_or_default() {
                b"/64k" => &answers.large,
                b"/chunked" => &answers.chunked,
                b"/1m" => &answers.huge,
                _ => &answers.tiny,
            };
            stream.write_all(answer).await?;
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
        }
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            count => filled += count,
        }
    }
}

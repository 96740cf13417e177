//! HTTP/2 with programs that others wrote: h2spec, gRPC for Go, curl, h2load.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process;
use tokio::time::timeout;

use super::h2_backend::h2_entry;
use super::http2::serve_each;
use super::{Program, TestEdge, entry, machine, machine_of, ok};

/// Long enough for a busy machine; a peer that hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where the Go programs of `check/conformance/peers` are, built on first use; `None` without Go.
fn go_peers() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !present("go") {
            return None;
        }
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../../check/conformance/peers");
        let into = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("peers");
        std::fs::create_dir_all(&into).unwrap();
        let status = Command::new("go")
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&into)
            .args(["./grpcpeer", "github.com/summerwind/h2spec/cmd/h2spec"])
            .current_dir(sources)
            .status()
            .unwrap();
        assert!(status.success(), "the Go programs do not build");
        Some(into)
    });
    if built.is_none() {
        eprintln!("skipped: go is missing; ./dev setup installs it");
    }
    built.as_ref()
}

fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a program to its end; what it wrote, and whether it succeeded.
async fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> (bool, String) {
    let child = process::Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, child)
        .await
        .expect("the peer ends")
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn hello(_: &str) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n".to_vec()
}

#[tokio::test]
async fn h2spec_finds_nothing() {
    let Some(peers) = go_peers() else { return };
    // It reads a body before it answers: an answer that comes first would be right, and hide what is wrong with the body.
    let (_program, port) = Program::listen(9, 0, |_| ok("hello\n")).await;
    // h2spec asks for the host it connects to: with this domain, 127.0.0.1 is an app.
    let edge = TestEdge::start_as(vec![machine_of("127", 9, "iad", port)], |config| {
        config.domain = "0.0.1".to_owned();
    })
    .await;
    // A connection without TLS whose first bytes are not the preface is HTTP/1 (http2/3.5/2): it gets a 400 in HTTP/1.
    let plain = [
        "generic",
        "http2/3.5/1",
        "http2/4",
        "http2/5",
        "http2/6",
        "http2/7",
        "http2/8",
        "hpack",
    ];
    for (address, what) in [(edge.https, &["-t", "-k"][..]), (edge.address, &plain)] {
        let port = address.port().to_string();
        let args = [&["-h", "127.0.0.1", "-p", &port, "-o", "5", "-S"], what].concat();
        let (passed, text) = run(peers.join("h2spec"), &args).await;
        let count = text
            .lines()
            .find(|line| line.contains(" passed, "))
            .unwrap_or_default();
        assert!(
            passed && count.ends_with("0 skipped, 0 failed"),
            "{what:?}\n{text}"
        );
        let total: usize = count.split(' ').next().unwrap().parse().unwrap();
        assert!(total >= 144, "{count}");
    }
    edge.end().await;
}

#[tokio::test]
async fn grpc_works_in_all_its_kinds() {
    let Some(peers) = go_peers() else { return };
    let mut server = process::Command::new(peers.join("grpcpeer"))
        .args(["serve", "[::1]:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    timeout(PATIENCE, output.read_line(&mut address))
        .await
        .expect("the server starts")
        .unwrap();
    let port = address.trim().rsplit_once(':').unwrap().1.parse().unwrap();
    let edge = TestEdge::start(vec![h2_entry(port)]).await;
    let target = edge.address.to_string();
    let (passed, text) = run(
        peers.join("grpcpeer"),
        &["check", &target, "web.mayfly.test"],
    )
    .await;
    assert!(passed, "{text}");
    // A server that restarts costs none of the calls made afterwards.
    server.kill().await.unwrap();
    let mut server = process::Command::new(peers.join("grpcpeer"))
        .args(["serve", address.trim()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    timeout(PATIENCE, output.read_line(&mut address))
        .await
        .expect("the server starts again")
        .unwrap();
    let load = ["load", &target, "web.mayfly.test", "500", "16"];
    let (passed, text) = run(peers.join("grpcpeer"), &load).await;
    assert!(passed && text.starts_with("0 of 500 failed"), "{text}");
    server.kill().await.unwrap();
    edge.end().await;
}

#[tokio::test]
async fn curl_gets_http_2_both_ways() {
    let (listener, port) = machine().await;
    let machine = serve_each(listener, hello);
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let (http, https) = (edge.address.port(), edge.https.port());
    for (scheme, port, protocol, version) in [
        ("http", http, "--http2-prior-knowledge", "2"),
        // Asking for an upgrade is answered in HTTP/1, as RFC 9113 wants it.
        ("http", http, "--http2", "1.1"),
        ("https", https, "--http2", "2"),
        ("https", https, "--http1.1", "1.1"),
    ] {
        let url = format!("{scheme}://web.mayfly.test:{port}/");
        let resolve = format!("web.mayfly.test:{port}:127.0.0.1");
        let args = [
            "-skv",
            protocol,
            "--resolve",
            &resolve,
            "-w",
            "version %{http_version}\n",
            &url,
        ];
        let (passed, text) = run("curl", &args).await;
        let wanted = format!("version {version}\n");
        assert!(
            passed && text.contains("hello\n") && text.contains(&wanted),
            "{scheme} {protocol}\n{text}"
        );
    }
    machine.abort();
    edge.end().await;
}

#[tokio::test]
async fn no_request_fails_while_machines_hang_up() {
    if !present("h2load") {
        eprintln!("skipped: h2load is missing; ./dev setup installs it");
        return;
    }
    let (listener, port) = machine().await;
    #[allow(clippy::disallowed_methods)] // aborted below
    let machine = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // Hangs up after every seventh answer, without a word before.
            connections.spawn(async move {
                let mut read = Vec::new();
                for _ in 0..7 {
                    while !read.ends_with(b"\r\n\r\n") {
                        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                            return;
                        }
                    }
                    read.clear();
                    if stream.write_all(&hello("")).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let edge = TestEdge::start(vec![entry("web", port)]).await;
    let connect = format!("--connect-to={}", edge.address);
    let args = ["-n5000", "-c8", "-m16", &connect, "http://web.mayfly.test/"];
    let (passed, text) = run("h2load", &args).await;
    assert!(
        passed && text.contains("5000 succeeded, 0 failed, 0 errored"),
        "{text}"
    );
    assert!(text.contains("status codes: 5000 2xx"), "{text}");
    machine.abort();
    edge.end().await;
}

//! Memory of connections that wait for their next request.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peers::Proxy;

const COUNT: u32 = 1000;

/// Opens connections, makes one request on each, says `ready`, and holds them until its input ends.
const HOLDER: &str = r#"
import socket, ssl, sys
host, port, count, tls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "tls"
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.set_alpn_protocols(["http/1.1"])
held = []
for _ in range(count):
    connection = socket.create_connection(("127.0.0.1", port))
    if tls:
        connection = context.wrap_socket(connection, server_hostname=host)
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(answer)
    held.append(connection)
print("ready", flush=True)
sys.stdin.read()
"#;

pub(super) fn measure(proxies: &[&Proxy; 3], host: &str) -> Result<()> {
    for kind in ["plain", "tls"] {
        println!("idle connection, {kind}, {COUNT} held");
        for proxy in proxies {
            // The first time fills caches that stay.
            hold(proxy, host, kind)?;
            let kib = hold(proxy, host, kind)? / f64::from(COUNT) / 1024.0;
            println!("  {:8} {kib:.1} KiB each", proxy.name);
        }
    }
    Ok(())
}

/// Bytes that the proxy holds for all connections.
fn hold(proxy: &Proxy, host: &str, kind: &str) -> Result<f64> {
    let before = proxy.memory()?;
    let port = match kind {
        "tls" => proxy.tls,
        _ => proxy.plain,
    };
    let mut holder = Command::new("python3")
        .args(["-c", HOLDER, host])
        .args([&port.to_string(), &COUNT.to_string(), kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run python3")?;
    let mut line = String::new();
    if let Some(output) = holder.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    // What busy connections hand back is given up within a moment.
    std::thread::sleep(Duration::from_secs(1));
    let held = proxy.memory()?;
    drop(holder.stdin.take());
    holder.wait()?;
    ensure!(
        line.trim() == "ready",
        "{} did not hold {COUNT} connections",
        proxy.name
    );
    Ok(held as f64 - before as f64)
}

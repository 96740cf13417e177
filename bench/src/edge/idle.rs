//! Memory of connections that wait for their next request.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::peers::Proxy;

const COUNT: u32 = 2000;

/// Opens connections, makes one request on each, says `ready`, and holds them until its input ends.
const HOLDER: &str = r#"
import resource, socket, ssl, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
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

/// To be run before anything else: what earlier connections left free would hold these.
pub(super) fn measure(proxies: &[&Proxy; 3], host: &str) -> Result<()> {
    for proxy in proxies {
        for kind in ["plain", "tls"] {
            // Fills caches that stay.
            hold(proxy, host, kind, COUNT / 40)?;
        }
        let before = proxy.memory()?;
        let kib = |held: u64| (held as f64 - before as f64) / f64::from(COUNT) / 1024.0;
        let plain = kib(hold(proxy, host, "plain", COUNT)?);
        // Against the same beginning, so that nothing is counted that the others gave back.
        let tls = kib(hold(proxy, host, "tls", COUNT)?);
        println!(
            "idle connection, {COUNT} held: {:8} {plain:.1} KiB each, {tls:.1} KiB with TLS",
            proxy.name
        );
    }
    Ok(())
}

/// Bytes that the proxy holds while there are `count` connections.
fn hold(proxy: &Proxy, host: &str, kind: &str, count: u32) -> Result<u64> {
    let port = match kind {
        "tls" => proxy.tls,
        _ => proxy.plain,
    };
    let mut holder = Command::new("python3")
        .args(["-c", HOLDER, host])
        .args([&port.to_string(), &count.to_string(), kind])
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
        "{} did not hold {count} connections",
        proxy.name
    );
    Ok(held)
}

//! Probes run in processes of their own: they may block, and killing one is all it takes to time it out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::exit;
use std::time::Duration;

use mayfly_machine::{Healthcheck, Probe};
use mayfly_sys::{Fork, Instruction, default_signals, fork};
use mayfly_tls::{BlockingTls, Trust, is_server_name};
use rustix::process::{Pid, setsid};

use super::program::{Program, Streams, enter, spawn};
use super::root::ContainerRoot;
use crate::failure::{Failure, While};

/// The status line is all that is looked at.
const ANSWER_BYTES: u64 = 64;

/// The name that certificates are expected for unless the check names another one: programs are asked over loopback.
const SERVER_NAME: &str = "localhost";

/// Where distributions keep the certificates of the authorities they trust: Debian and Alpine, Fedora, SUSE, and others.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Debian's bundle has some 220 KiB.
const AUTHORITIES_BYTES: u64 = 4 << 20;

/// Why a check cannot be done here at all.
pub(crate) fn refusal(check: &Healthcheck) -> Option<String> {
    match &check.probe {
        Probe::Http {
            tls: true,
            tls_server_name: Some(name),
            ..
        } if !is_server_name(name) => Some(format!(
            "tls_server_name of a health check must be a host name or an address, got `{name}`"
        )),
        Probe::Exec { command } if command.is_empty() => {
            Some("an exec health check needs a command".to_owned())
        }
        _ => None,
    }
}

/// Starts a probe; its process ends with code 0 if it passed. `program` is the container's own first one, whose user and
/// environment an exec probe gets.
pub(crate) fn start(
    root: &ContainerRoot,
    program: &Program,
    check: &Healthcheck,
    filter: &[Instruction],
) -> Result<Pid, Failure> {
    if let Probe::Exec { command } = &check.probe {
        let null = || File::options().write(true).open("/dev/null");
        let (output, errors) = (
            null().when("open /dev/null")?,
            null().when("open /dev/null")?,
        );
        let program = Program {
            argv: command.clone(),
            ..program.clone()
        };
        let streams = Streams::Pipes(None, output.into(), errors.into());
        return Ok(spawn(root, &program, streams, filter)?.pid);
    }
    match fork().when("start a process")? {
        Fork::Parent { child } => Ok(child),
        Fork::Child => {
            default_signals();
            let _ = setsid();
            // Certificates are judged by the authorities the container itself trusts.
            let passed = enter(root).is_ok() && passes(&check.probe, check.timeout);
            exit(if passed { 0 } else { 1 });
        }
    }
}

fn passes(probe: &Probe, timeout: Duration) -> bool {
    match probe {
        Probe::Tcp { port } => connect(*port, timeout).is_some(),
        Probe::Http {
            port,
            method,
            path,
            headers,
            tls,
            tls_skip_verify,
            tls_server_name,
        } => {
            let request = head(*port, method, path, headers);
            let Some(stream) = connect(*port, timeout) else {
                return false;
            };
            if !tls {
                return answers(stream, &request);
            }
            let trust = if *tls_skip_verify {
                Trust::Anyone
            } else {
                Trust::bundle(&authorities())
            };
            let name = tls_server_name.as_deref().unwrap_or(SERVER_NAME);
            BlockingTls::connect(stream, name, trust).is_ok_and(|stream| answers(stream, &request))
        }
        Probe::Exec { .. } => false,
    }
}

fn head(port: u16, method: &str, path: &str, headers: &BTreeMap<String, String>) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let named = |name: &str| headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    if !named("host") {
        head.push_str(&format!("Host: localhost:{port}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    head
}

/// Asks, and looks at the first line of the answer.
fn answers(mut stream: impl Read + Write, request: &str) -> bool {
    let exchange = || -> io::Result<Vec<u8>> {
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    };
    exchange().is_ok_and(|answer| is_success(&answer))
}

/// What the container's image brings; without any, no certificate is good.
fn authorities() -> Vec<u8> {
    let mut pem = Vec::new();
    if let Some(file) = AUTHORITIES.iter().find_map(|path| File::open(path).ok()) {
        let _ = file.take(AUTHORITIES_BYTES).read_to_end(&mut pem);
    }
    pem
}

/// Programs listen on either family.
fn connect(port: u16, timeout: Duration) -> Option<TcpStream> {
    let timeout = timeout.max(Duration::from_millis(1));
    let addresses: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ];
    let stream = addresses
        .into_iter()
        .find_map(|address| TcpStream::connect_timeout(&address, timeout).ok())?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    stream.set_write_timeout(Some(timeout)).ok()?;
    Some(stream)
}

fn is_success(answer: &[u8]) -> bool {
    let status = answer
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| answer.strip_prefix(b"HTTP/1.0 "));
    matches!(status, Some([b'2', b'0'..=b'9', b'0'..=b'9', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundreds_pass() {
        for (answer, wanted) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.0 204 No Content", true),
            ("HTTP/1.1 302 Found", false),
            ("HTTP/1.1 500 No", false),
            ("HTTP/1.1 2", false),
            ("SSH-2.0-x", false),
            ("", false),
        ] {
            assert_eq!(is_success(answer.as_bytes()), wanted, "{answer}");
        }
    }
}

//! Probes run in processes of their own: they may block, and killing one is all it takes to time it out.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::exit;
use std::time::Duration;

use mayfly_machine::{Healthcheck, Probe};
use mayfly_sys::{Fork, Instruction, default_signals, fork};
use rustix::process::{Pid, setsid};

use super::program::{Program, Streams, spawn};
use super::root::ContainerRoot;
use crate::failure::{Failure, While};

/// The status line is all that is looked at.
const ANSWER_BYTES: u64 = 64;

/// Why a check cannot be done here at all.
pub(crate) fn refusal(check: &Healthcheck) -> Option<&'static str> {
    match &check.probe {
        Probe::Http { tls: true, .. } => {
            Some("health checks by https are not supported inside a machine: use http, tcp or exec")
        }
        Probe::Exec { command } if command.is_empty() => {
            Some("an exec health check needs a command")
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
            exit(if passes(&check.probe, check.timeout) {
                0
            } else {
                1
            });
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
            ..
        } => {
            let mut request = format!("{method} {path} HTTP/1.1\r\n");
            let named = |name: &str| headers.keys().any(|key| key.eq_ignore_ascii_case(name));
            if !named("host") {
                request.push_str(&format!("Host: localhost:{port}\r\n"));
            }
            for (name, value) in headers {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
            request.push_str("Connection: close\r\n\r\n");
            connect(*port, timeout)
                .and_then(|mut stream| {
                    stream.write_all(request.as_bytes()).ok()?;
                    let mut answer = Vec::new();
                    stream.take(ANSWER_BYTES).read_to_end(&mut answer).ok()?;
                    Some(is_success(&answer))
                })
                .unwrap_or(false)
        }
        Probe::Exec { .. } => false,
    }
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

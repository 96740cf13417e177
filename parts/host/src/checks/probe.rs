use std::net::SocketAddr;
use std::time::Duration;

use mayfly_machine::{CheckProbe, CheckSpec};
use mayfly_net::{ProbeAnswer, ProbeError, ProbeRequest, ProbeTls, Prober};
use mayfly_runtime::report;
use tokio::time::Instant;

use super::plan::{Seen, Ticket};

/// What checks call themselves; documented, so that apps can leave them out of their logs.
pub(super) const USER_AGENT: &str = "Mayfly-Health-Check/1";

/// Bytes of an answer that are kept to be shown.
const OUTPUT_MAX: usize = 1024;

/// Makes one probe. Most programs listen on `0.0.0.0`, some on `[::]` only, so IPv4 goes first and IPv6 is asked where
/// nobody listens on IPv4.
pub(super) async fn probe(prober: &Prober, ticket: &Ticket) -> Seen {
    let spec = &ticket.spec;
    let deadline = Instant::now() + spec.timeout;
    let mut refused = None;
    for address in ticket.addresses {
        let address = SocketAddr::new(address, spec.port);
        let left = deadline.saturating_duration_since(Instant::now());
        match ask(prober, address, spec, left).await {
            Err(error @ ProbeError::Connect { .. }) => {
                refused.get_or_insert(error);
            }
            Err(ProbeError::Timeout { address, .. }) => {
                let limit = spec.timeout;
                return failed(&ProbeError::Timeout { address, limit }, true);
            }
            Err(error) => return failed(&error, true),
            Ok(None) => {
                return Seen {
                    passed: true,
                    reached: true,
                    output: "Success".to_owned(),
                };
            }
            Ok(Some(answer)) => return judged(&answer, ticket.of_service),
        }
    }
    let refused =
        refused.expect("an address that was neither reached nor refused was answered for");
    failed(&refused, false)
}

async fn ask(
    prober: &Prober,
    address: SocketAddr,
    spec: &CheckSpec,
    limit: Duration,
) -> Result<Option<ProbeAnswer>, ProbeError> {
    match &spec.probe {
        CheckProbe::Tcp => prober.connects(address, limit).await.map(|()| None),
        CheckProbe::Http {
            method,
            path,
            headers,
            tls,
        } => {
            let request = ProbeRequest {
                method,
                path,
                headers,
                tls: tls.as_ref().map(|tls| ProbeTls {
                    skip_verify: tls.skip_verify,
                    server_name: tls.server_name.as_deref(),
                }),
                body_limit: OUTPUT_MAX,
            };
            prober.ask(address, request, limit).await.map(Some)
        }
    }
}

fn failed(error: &ProbeError, reached: bool) -> Seen {
    let remedy = match error {
        ProbeError::Handshake { .. } => "; see tls_server_name and tls_skip_verify of the check",
        _ => "",
    };
    Seen {
        passed: false,
        reached,
        output: report(error) + remedy,
    }
}

/// Success is 2xx; redirects are not followed: <https://fly.io/docs/reference/configuration/#http_service-checks>.
///
/// A passing top-level check shows what the program said, which clients act on (the role of a database, say). One of a
/// service shows the status only: it is published to every edge, and pages differ from one request to the next.
fn judged(answer: &ProbeAnswer, of_service: bool) -> Seen {
    let status = answer.status.to_string();
    let status = status.trim_end_matches(" <unknown status code>");
    let body = readable(&answer.body);
    let passed = answer.status.is_success();
    let output = match (&answer.location, passed) {
        (_, true) if of_service || body.is_empty() => status.to_owned(),
        (_, true) => body,
        (Some(location), false) if answer.status.is_redirection() => {
            format!("{status}: redirects are not followed, to {location}")
        }
        (_, false) if body.is_empty() => status.to_owned(),
        (_, false) => format!("{status}: {body}"),
    };
    Seen {
        passed,
        reached: true,
        output: cut(output),
    }
}

fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{fffd}');
    text.chars()
        .map(|letter| match letter {
            '\n' | '\t' => letter,
            other if other.is_control() => ' ',
            other => other,
        })
        .collect()
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(OUTPUT_MAX);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: Option<&str>, body: &[u8]) -> ProbeAnswer {
        ProbeAnswer {
            status: status.try_into().unwrap(),
            location: location.map(str::to_owned),
            body: body.to_vec().into(),
        }
    }

    #[test]
    fn only_two_hundreds_pass_and_the_output_says_why() {
        for (answer, of_service, passed, output) in [
            (answer(200, None, b"primary\n"), false, true, "primary"),
            (answer(200, None, b"<html>"), true, true, "200 OK"),
            (answer(204, None, b""), false, true, "204 No Content"),
            (answer(299, None, b""), true, true, "299"),
            (
                answer(301, Some("https://x/"), b"moved"),
                true,
                false,
                "301 Moved Permanently: redirects are not followed, to https://x/",
            ),
            (
                answer(503, None, b"no \x1b[2J\xff\xff"),
                true,
                false,
                "503 Service Unavailable: no  [2J",
            ),
            (answer(404, None, b""), false, false, "404 Not Found"),
        ] {
            let seen = judged(&answer, of_service);
            assert_eq!((seen.passed, seen.output.as_str()), (passed, output));
            assert!(seen.reached);
        }
        let long = judged(&answer(500, None, "ä".repeat(1024).as_bytes()), false);
        assert!(long.output.len() <= OUTPUT_MAX && long.output.ends_with('ä'));
    }
}

//! Answers of the edge itself.

use std::fmt::Write;
use std::io;

use mayfly_routing::ReplayRefusal;
use mayfly_types::MachineId;

use super::attempt::Failure;
use super::body::Form;
use super::error_page;
use super::exchange::AnswerSink;
use super::head::RequestHead;
use super::outbound::Answer;
use super::response_head::ResponseHead;
use crate::compress::Compression;

/// Why a request is not answered by a machine. The codes are Fly.io's (monitoring/error-codes) where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// For people; plain text.
    pub(crate) message: String,
    pub(crate) machine: Option<MachineId>,
}

/// A complete answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Problem {
        Problem {
            status,
            code,
            message: message.into(),
            machine: None,
        }
    }

    pub(crate) fn of(self, machine: MachineId) -> Problem {
        Problem {
            machine: Some(machine),
            ..self
        }
    }

    /// The machine does not accept connections.
    pub(crate) fn refused(error: &io::Error, machine: MachineId, port: u16) -> Problem {
        let (code, what) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                "PC01",
                format!(
                    "refused the connection on port {port}: is your app listening on 0.0.0.0:{port}? \
                     Make sure that it does not listen on 127.0.0.1, and that internal_port is its port"
                ),
            ),
            io::ErrorKind::TimedOut => (
                "PC05",
                format!("did not accept the connection on port {port} in time"),
            ),
            io::ErrorKind::ConnectionReset => ("PC03", "reset the connection".to_owned()),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                ("PU03", "is on a host that cannot be reached".to_owned())
            }
            _ => ("PC06", format!("cannot be connected to on port {port}")),
        };
        Problem::new(502, code, format!("Machine {machine} {what}.")).of(machine)
    }

    /// A machine's order to replay the request is not followed.
    pub(crate) fn replay(refusal: &ReplayRefusal, machine: MachineId) -> Problem {
        let mut message = refusal.to_string();
        message.push('.');
        Problem::new(refusal.status(), refusal.code(), message).of(machine)
    }

    /// Adds how often it was tried.
    pub(crate) fn after(mut self, tries: u32) -> Problem {
        if tries > 2 {
            let _ = write!(
                self.message,
                " [PR03] No machine answered in {tries} tries."
            );
        }
        self
    }

    pub(crate) fn failed(failure: &Failure, machine: MachineId) -> Problem {
        let (status, code, what) = match failure {
            Failure::Ended => (502, "PU02", "ended the connection without an answer"),
            Failure::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    (502, "PC03", "reset the connection")
                }
                io::ErrorKind::ConnectionAborted => (502, "PC04", "aborted the connection"),
                io::ErrorKind::TimedOut => (504, "PC05", "let the connection time out"),
                _ => (502, "PC06", "failed on its connection"),
            },
            Failure::Garbled => (502, "PU02", "did not answer in HTTP"),
            Failure::Late => (504, "PC05", "did not answer in time"),
        };
        Problem::new(status, code, format!("Machine {machine} {what}.")).of(machine)
    }

    pub(crate) fn reply(&self, wants_json: bool, request_id: &str) -> Reply {
        let (kind, body) = error_page::render(
            self.status,
            self.code,
            &self.message,
            request_id,
            wants_json,
        );
        Reply {
            status: self.status,
            fields: vec![
                ("Content-Type", kind.to_owned()),
                ("Cache-Control", "no-store".to_owned()),
            ],
            body,
        }
    }
}

impl Reply {
    /// Answers the request with `head`.
    pub(crate) async fn send<K: AnswerSink>(
        &self,
        head: &RequestHead,
        sink: &mut K,
        request_id: &str,
    ) -> io::Result<()> {
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nContent-Length: {}\r\n",
            self.status,
            error_page::reason(self.status),
            self.body.len()
        );
        for (name, value) in &self.fields {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        let mut answer = ResponseHead::default();
        answer
            .read(text.as_bytes(), head.method())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let answer = Answer {
            head: &answer,
            framing: answer.framing,
            request_id,
            options: None,
            compression: Compression::Off,
        };
        let _: Form = sink.begin(&answer);
        let body = if head.is_head() { &[] } else { &*self.body };
        sink.body(body).await?;
        sink.end(&[]).await
    }
}

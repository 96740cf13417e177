//! Answers of the edge itself.

use std::io;

use mayfly_types::MachineId;

use super::attempt::Failure;
use super::body::Form;
use super::error_page;
use super::exchange::AnswerSink;
use super::head::RequestHead;
use super::outbound::Answer;
use super::response_head::ResponseHead;
use super::upstream::Unreachable;
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

    pub(crate) fn unreachable(error: &Unreachable) -> Problem {
        match error {
            Unreachable::NoMachine(refusal) => {
                Problem::new(refusal.status(), refusal.code(), sentence(refusal))
            }
            Unreachable::Refused(error) if error.code() == "PC01" => Problem::new(
                502,
                "PC01",
                format!(
                    "Machine {} refused the connection: is your app listening on 0.0.0.0:{}?",
                    error.machine,
                    error.address.port()
                ),
            )
            .of(error.machine),
            Unreachable::Refused(error) => {
                Problem::new(502, error.code(), sentence(error)).of(error.machine)
            }
        }
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

/// An error's text as a sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
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

//! One request and its answer over a client's and a machine's connection.

use std::pin::pin;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::body::{Channel, Form, Reader, RelayError, relay};
use crate::head::{Framing, RequestHead, ResponseHead, Version};
use crate::outbound;
use crate::transport::ClientStream;

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// The answer was passed on; whether each connection can carry another request.
    Answered {
        keep_client: bool,
        keep_machine: bool,
    },
    /// The machine agreed to switch protocols; both connections are a tunnel now.
    Switched,
    /// The machine ended the connection before any byte of an answer.
    NotAnswered,
    /// The machine's answer made no sense; nothing of it was passed on.
    Garbled,
    /// The answer began and could not be finished, or the client is gone.
    Broken(RelayError),
}

/// Sends the request whose head is `request_head` and passes the answer on. Both directions run at once, so an answer
/// may come before the request's body has ended.
pub(crate) async fn exchange<S: ClientStream>(
    client: &mut Channel<S>,
    machine: &mut Channel,
    head: &RequestHead,
    request_head: Vec<u8>,
    request_id: &str,
) -> Exchange {
    let mut upload = pin!(relay(
        &mut client.reader,
        &mut machine.writer,
        head.framing,
        Form::AsIs,
        request_head
    ));
    let mut download = pin!(answer(
        &mut machine.reader,
        &mut client.writer,
        head,
        request_id
    ));
    let mut uploaded = false;
    loop {
        tokio::select! {
            biased;
            result = &mut upload, if !uploaded => match result {
                Ok(()) => uploaded = true,
                // The machine may refuse the body and still answer (RFC 9112, 9.6).
                Err(RelayError::Write(_)) => {
                    return without_reuse(download.await);
                }
                Err(error) => return Exchange::Broken(error),
            },
            ended = &mut download => {
                return if uploaded { ended } else { without_reuse(ended) };
            }
        }
    }
}

/// A request body that was not passed on whole leaves both connections in the middle of a message.
fn without_reuse(ended: Exchange) -> Exchange {
    match ended {
        Exchange::Answered { .. } => Exchange::Answered {
            keep_client: false,
            keep_machine: false,
        },
        other => other,
    }
}

async fn answer<W: AsyncWrite + Unpin>(
    machine: &mut Reader,
    client: &mut W,
    head: &RequestHead,
    request_id: &str,
) -> Exchange {
    loop {
        let answer = match read_head(machine, &head.method).await {
            Ok(answer) => answer,
            Err(failed) => return failed,
        };
        let unchunk = answer.framing == Framing::Chunked && head.version == Version::Http10;
        let delimited = answer.framing != Framing::UntilClose && !unchunk;
        let keep_client = head.keep_alive && delimited;
        let bytes = machine.unread()[..answer.length].to_vec();
        let out = outbound::response(&answer, &bytes, head.version, keep_client, request_id);
        machine.consume(answer.length);
        if answer.status == 101 {
            return match client.write_all(&out).await {
                Ok(()) if head.upgrade => Exchange::Switched,
                Ok(()) => Exchange::Garbled,
                Err(error) => Exchange::Broken(RelayError::Write(error)),
            };
        }
        if answer.status < 200 {
            // HTTP/1.0 knows no interim answers (RFC 9110, 15.2).
            if head.version == Version::Http11
                && let Err(error) = client.write_all(&out).await
            {
                return Exchange::Broken(RelayError::Write(error));
            }
            continue;
        }
        let form = if unchunk { Form::Unchunked } else { Form::AsIs };
        return match relay(machine, client, answer.framing, form, out).await {
            Ok(()) => Exchange::Answered {
                keep_client,
                keep_machine: answer.keep_alive,
            },
            Err(error) => Exchange::Broken(error),
        };
    }
}

async fn read_head(machine: &mut Reader, method: &str) -> Result<ResponseHead, Exchange> {
    loop {
        match ResponseHead::parse(machine.unread(), method) {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => {}
            Err(_) => return Err(Exchange::Garbled),
        }
        match machine.fill().await {
            Ok(count) if count > 0 => {}
            _ if machine.unread().is_empty() => return Err(Exchange::NotAnswered),
            _ => return Err(Exchange::Garbled),
        }
    }
}

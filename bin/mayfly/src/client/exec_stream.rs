//! A program in a machine, attached to us: bytes both ways, its size of terminal, how it ended.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use mayfly_net::Upgraded;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Api, encoded};

const STDIN: u8 = 0;
const STDERR: u8 = 2;

/// The connection to a running program.
pub(crate) struct ExecStream(WebSocketStream<Upgraded>);

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromProgram {
    Stdout(Bytes),
    Stderr(Bytes),
    End(ExecEnd),
}

/// How the program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExecEnd {
    Code(i32),
    Signal(i32),
    /// It never ran, or its end was lost.
    Error(String),
}

impl Api {
    /// Starts a program; `request` holds `command`, `env`, `user`, `cwd`, `container`, `tty`, `session` and `destroy`.
    pub(crate) async fn exec_stream(
        &self,
        app: &str,
        machine: &str,
        request: Value,
    ) -> anyhow::Result<ExecStream> {
        let path = format!(
            "/v1/apps/{}/machines/{}/exec/stream",
            encoded(app),
            encoded(machine)
        );
        let mut socket = self.web_socket(&path).await?;
        socket.send(text(&request)).await?;
        Ok(ExecStream(socket))
    }
}

fn text(message: &Value) -> Message {
    Message::Text(Utf8Bytes::from(message.to_string()))
}

impl ExecStream {
    pub(crate) async fn input(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut frame = Vec::with_capacity(bytes.len() + 1);
        frame.push(STDIN);
        frame.extend_from_slice(bytes);
        Ok(self.0.send(Message::Binary(frame.into())).await?)
    }

    pub(crate) async fn input_ended(&mut self) -> anyhow::Result<()> {
        Ok(self.0.send(text(&json!({ "stdin_end": true }))).await?)
    }

    pub(crate) async fn resize(&mut self, rows: u16, columns: u16) -> anyhow::Result<()> {
        let size = json!({ "resize": { "rows": rows, "columns": columns } });
        Ok(self.0.send(text(&size)).await?)
    }

    pub(crate) async fn signal(&mut self, signal: &str) -> anyhow::Result<()> {
        Ok(self.0.send(text(&json!({ "signal": signal }))).await?)
    }

    /// What the program wrote next, or how it ended. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> anyhow::Result<FromProgram> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(frame))) => {
                    if let Some(output) = output_of(frame) {
                        return Ok(output);
                    }
                }
                Some(Ok(Message::Text(said))) => {
                    if let Some(end) = end_of(&said) {
                        return Ok(FromProgram::End(end));
                    }
                }
                Some(Ok(Message::Close(_))) | None => {
                    let lost = "the connection ended before the program did".to_owned();
                    return Ok(FromProgram::End(ExecEnd::Error(lost)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

fn output_of(mut frame: Bytes) -> Option<FromProgram> {
    if frame.is_empty() {
        return None;
    }
    let channel = frame.split_to(1)[0];
    Some(if channel == STDERR {
        FromProgram::Stderr(frame)
    } else {
        FromProgram::Stdout(frame)
    })
}

fn end_of(said: &str) -> Option<ExecEnd> {
    let said: Value = serde_json::from_str(said).ok()?;
    let exit = said.get("exit")?;
    let number = |key| {
        let number = exit.get(key)?.as_i64()?;
        i32::try_from(number).ok()
    };
    let error = exit.get("error").and_then(Value::as_str);
    let end = number("code")
        .map(ExecEnd::Code)
        .or_else(|| number("signal").map(ExecEnd::Signal));
    end.or_else(|| Some(ExecEnd::Error(error.unwrap_or("unknown end").to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        for (said, end) in [
            (r#"{"exit":{"code":3}}"#, Some(ExecEnd::Code(3))),
            (r#"{"exit":{"signal":9}}"#, Some(ExecEnd::Signal(9))),
            (
                r#"{"exit":{"error":"no such user"}}"#,
                Some(ExecEnd::Error("no such user".into())),
            ),
            (r#"{"later":1}"#, None),
            ("no json", None),
        ] {
            assert_eq!(end_of(said), end, "{said}");
        }
    }

    #[test]
    fn output_keeps_its_channel() {
        let frame = |bytes: &'static [u8]| Bytes::from_static(bytes);
        assert_eq!(
            output_of(frame(b"\x01hi")),
            Some(FromProgram::Stdout(frame(b"hi")))
        );
        assert_eq!(
            output_of(frame(b"\x02no")),
            Some(FromProgram::Stderr(frame(b"no")))
        );
        assert_eq!(output_of(frame(b"")), None);
    }
}

use mayfly_net::{Method, Response, header};
use serde_json::Value;

use super::{Api, ApiError, list_in, query};

/// Which entries of the event log to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventFilter {
    pub(crate) after: Option<u64>,
    pub(crate) limit: Option<usize>,
    /// So many of the newest, without `after`, `limit` and `wait`.
    pub(crate) last: Option<usize>,
    pub(crate) app: Option<String>,
    pub(crate) machine: Option<String>,
    /// Seconds to wait for something to read.
    pub(crate) wait: Option<u64>,
}

/// The event log as it grows.
pub(crate) struct EventStream {
    answer: Response,
    pending: Vec<u8>,
}

impl EventFilter {
    fn path(&self) -> String {
        let pairs = [
            ("after", self.after.map(|seq| seq.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("last", self.last.map(|last| last.to_string())),
            ("app", self.app.clone()),
            ("machine", self.machine.clone()),
            ("wait", self.wait.map(|seconds| seconds.to_string())),
        ];
        format!("/v1/events{}", query(&pairs))
    }
}

impl Api {
    /// The next entries, oldest first, and the position to continue after.
    pub(crate) async fn events(
        &self,
        filter: &EventFilter,
    ) -> Result<(Vec<Value>, Option<u64>), ApiError> {
        let path = filter.path();
        let answer = self.get(&path).send().await?;
        let next = answer.get("next").and_then(Value::as_u64);
        Ok((list_in(answer, "events", &path)?, next))
    }

    /// The entries after the filter's position, and every one to come.
    pub(crate) async fn follow_events(
        &self,
        filter: &EventFilter,
    ) -> Result<EventStream, ApiError> {
        let request = self
            .request(Method::GET, &filter.path())
            .header(header::ACCEPT, "text/event-stream")
            .body_timeout(None);
        Ok(EventStream {
            answer: self.stream(request).await?,
            pending: Vec::new(),
        })
    }
}

impl EventStream {
    /// The next entry; `None` when the server ended the stream.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(message) = take_message(&mut self.pending) {
                if let Some(data) = data_of(&message) {
                    return Ok(Some(serde_json::from_str(&data)?));
                }
            }
            match self.answer.chunk().await? {
                Some(piece) => self.pending.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// Cuts the first whole message off: messages end with an empty line,
/// <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.
fn take_message(pending: &mut Vec<u8>) -> Option<String> {
    let end = pending
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .map(|at| at + 2)
        .or_else(|| {
            let at = pending.windows(4).position(|four| four == b"\r\n\r\n")?;
            Some(at + 4)
        })?;
    let message: Vec<u8> = pending.drain(..end).collect();
    Some(String::from_utf8_lossy(&message).into_owned())
}

/// The data of a message; comments, which keep the connection alive, have none.
fn data_of(message: &str) -> Option<String> {
    let lines: Vec<&str> = message
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| data.strip_prefix(' ').unwrap_or(data))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_arrive() {
        let mut pending = Vec::new();
        let mut seen = Vec::new();
        for byte in
            b": alive\n\nid: 7\nevent: app.created\ndata: {\"seq\":7}\n\ndata: 1\r\n\r\nid: 8"
        {
            pending.push(*byte);
            while let Some(message) = take_message(&mut pending) {
                seen.push(data_of(&message));
            }
        }
        let data = |text: &str| Some(text.to_owned());
        assert_eq!(seen, [None, data("{\"seq\":7}"), data("1")]);
        assert_eq!(pending, b"id: 8");
    }
}

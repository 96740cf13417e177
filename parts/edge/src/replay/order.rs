use mayfly_routing::{InvalidReplay, REPLAY_JSON, Replay, ReplayHeaders};

use crate::http::ResponseHead;

/// Reads the replay that an answer orders, from its head and, in the JSON form, its body; `None` if it orders none.
///
/// # Errors
/// What the app got wrong (`PA03`).
pub(crate) fn order(head: &ResponseHead, body: &[u8]) -> Result<Option<Replay>, InvalidReplay> {
    let mut headers = ReplayHeaders::default();
    let mut json = false;
    for (_, name, value) in head.fields() {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("fly-replay") {
            headers.replay.push(value);
        } else if is("fly-replay-cache") {
            headers.cache = Some(value);
        } else if is("fly-replay-cache-ttl-secs") {
            headers.cache_ttl = Some(value);
        } else if is("fly-replay-cache-allow-bypass") {
            headers.cache_allow_bypass = Some(value);
        } else if is("content-type") {
            let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
            json = essence
                .trim_ascii()
                .eq_ignore_ascii_case(REPLAY_JSON.as_bytes());
        }
    }
    if !headers.replay.is_empty() {
        headers.parse().map(Some)
    } else if json {
        Replay::from_json(body).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str, body: &str) -> Result<Option<Replay>, InvalidReplay> {
        let mut head = ResponseHead::default();
        let text = format!("HTTP/1.1 307 x\r\n{lines}\r\n");
        head.read(text.as_bytes(), "GET").unwrap().unwrap();
        order(&head, body.as_bytes())
    }

    #[test]
    fn both_forms_are_orders_and_other_answers_are_none() {
        let replay = read("Fly-Replay: region=iad\r\nfly-replay: state=x\r\n", "").unwrap();
        assert_eq!(replay.unwrap().state.as_deref(), Some("x"));
        let json = "Content-Type: application/vnd.fly.replay+json; charset=utf-8\r\n";
        let replay = read(json, r#"{"app":"other"}"#).unwrap().unwrap();
        assert_eq!(replay.app.unwrap().as_str(), "other");
        assert!(matches!(read(json, "{"), Err(InvalidReplay::Json(_))));
        assert_eq!(read("Content-Type: application/json\r\n", "{}"), Ok(None));
        assert_eq!(read("Fly-Replay-Cache: /x\r\n", ""), Ok(None));
        let cached =
            "fly-replay: app=a\r\nfly-replay-cache: /x/*\r\nfly-replay-cache-ttl-secs: 60\r\n";
        assert!(matches!(
            read(cached, "").unwrap().unwrap().cache,
            Ok(Some(_))
        ));
    }
}

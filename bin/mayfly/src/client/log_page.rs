use std::time::Duration;

use mayfly_types::Timestamp;
use serde_json::{Value, json};

use super::{Api, ApiError, encoded, query};

/// Which lines of an app's log to read. The server filters.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFilter {
    pub(crate) machine: Option<String>,
    pub(crate) region: Option<String>,
}

/// One line of an app's log.
#[derive(Clone, Debug)]
pub(crate) struct LogLine(Value);

impl LogLine {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn machine(&self) -> &str {
        self.text("instance")
    }

    pub(crate) fn region(&self) -> &str {
        self.text("region")
    }

    pub(crate) fn message(&self) -> &str {
        self.text("message")
    }

    /// What wrote the line: `app` for the program, `runner` for the platform.
    pub(crate) fn provider(&self) -> &str {
        self.0
            .pointer("/meta/event/provider")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The level the line itself names if it is a JSON object with one, else the one the platform gave it.
    pub(crate) fn level(&self) -> String {
        let said = self.message().trim_start();
        let inner = said
            .starts_with('{')
            .then(|| serde_json::from_str::<Value>(said).ok())
            .flatten();
        let inner = inner
            .as_ref()
            .and_then(|fields| fields.get("level")?.as_str());
        inner.unwrap_or_else(|| self.text("level")).to_lowercase()
    }

    /// When the line was written, to the second, in UTC.
    pub(crate) fn at(&self) -> String {
        let text = self.text("timestamp");
        match text.parse::<Timestamp>() {
            Ok(at) => {
                let at = at.to_string();
                at.split_once('.')
                    .map_or(at.clone(), |(second, _)| format!("{second}Z"))
            }
            Err(_) => text.to_owned(),
        }
    }

    /// The line with its fields in upstream's order and names.
    pub(crate) fn document(&self) -> Value {
        json!({
            "level": self.level(),
            "instance": self.machine(),
            "message": self.message(),
            "region": self.region(),
            "timestamp": self.text("timestamp"),
            "meta": self.0.get("meta").cloned().unwrap_or(Value::Null),
        })
    }
}

impl Api {
    /// The lines after `cursor` (without one: the newest history) and the cursor to continue from.
    ///
    /// The server may hold a call that finds nothing for `wait`.
    pub(crate) async fn log_page(
        &self,
        app: &str,
        filter: &LogFilter,
        cursor: Option<&str>,
        limit: usize,
        wait: Duration,
    ) -> Result<(Vec<LogLine>, Option<String>), ApiError> {
        let wait_s = (!wait.is_zero()).then(|| wait.as_secs().to_string());
        let pairs = [
            ("next_token", cursor.map(str::to_owned)),
            ("instance", filter.machine.clone()),
            ("region", filter.region.clone()),
            ("limit", Some(limit.to_string())),
            ("wait", wait_s),
        ];
        let path = format!("/api/v1/apps/{}/logs{}", encoded(app), query(&pairs));
        let call = self.get(&path).on_platform();
        let answer = call.patience(wait + Duration::from_secs(30)).send().await?;
        let entries = answer.get("data").and_then(Value::as_array);
        let lines = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("attributes").cloned().map(LogLine))
            .collect();
        let next = answer.pointer("/meta/next_token").and_then(Value::as_str);
        let next = next.filter(|token| !token.is_empty()).or(cursor);
        Ok((lines, next.map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structured_message_names_its_level() {
        for (message, level) in [
            ("plain", "info"),
            (r#"{"level":"ERROR","msg":"x"}"#, "error"),
            (r#"{"msg":"x"}"#, "info"),
            ("{not json", "info"),
        ] {
            let line = LogLine(json!({ "level": "info", "message": message }));
            assert_eq!(line.level(), level, "{message}");
        }
    }

    #[test]
    fn times_are_shown_to_the_second() {
        let line = LogLine(json!({ "timestamp": "2026-11-21T08:30:00.123456789Z" }));
        assert_eq!(line.at(), "2026-11-21T08:30:00Z");
    }
}

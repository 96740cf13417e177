//! The fields that tell the target where a replayed request comes from.

use std::fmt::Write as _;
use std::time::Duration;

use mayfly_types::{AppName, MachineId, Region};

use super::Replay;

/// Who asked for a replay, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOrigin {
    pub machine: MachineId,
    pub region: Region,
    /// Microseconds since the Unix epoch.
    pub asked_at_us: i64,
}

/// Why the target of a replay did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayFailure {
    Timeout,
    RetriesExhausted,
    NoCandidate,
}

impl ReplayFailure {
    pub fn as_str(self) -> &'static str {
        match self {
            ReplayFailure::Timeout => "timeout",
            ReplayFailure::RetriesExhausted => "retries_exhausted",
            ReplayFailure::NoCandidate => "no_candidate",
        }
    }
}

/// The value of `fly-replay-src`.
pub fn replay_src(origin: &ReplayOrigin, replay: &Replay) -> String {
    let mut text = format!(
        "instance={};region={};t={}",
        origin.machine, origin.region, origin.asked_at_us
    );
    if let Some(state) = &replay.state {
        text.push_str(";state=");
        push_value(&mut text, state);
    }
    text
}

/// The value of `fly-replay-failed`, for the machine that takes the request back.
pub fn replay_failed(
    origin: &ReplayOrigin,
    replay: &Replay,
    target_app: &AppName,
    failure: ReplayFailure,
    elapsed: Duration,
) -> String {
    let mut text = String::new();
    if let Some(instance) = replay.instance.as_ref().or(replay.prefer_instance.as_ref()) {
        let _ = write!(text, "instance={instance};");
    }
    let _ = write!(text, "app={target_app};");
    if let Some(regions) = &replay.regions {
        text.push_str("region=");
        push_value(&mut text, &regions.to_string());
        text.push(';');
    }
    let _ = write!(
        text,
        "replay_source={};reason={};elapsed_ms={}",
        origin.machine,
        failure.as_str(),
        elapsed.as_millis()
    );
    text
}

/// As it is where a reader that splits at separators gets it back, else quoted.
fn push_value(text: &mut String, value: &str) {
    if !value.contains([';', ',', '"', '\\']) && value.trim() == value {
        text.push_str(value);
        return;
    }
    text.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

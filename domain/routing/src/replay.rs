//! `fly-replay`: an app asks that the request it was given be answered elsewhere.
//!
//! Source of every rule here: <https://fly.io/docs/networking/dynamic-request-routing/>.

mod cache_rule;
mod duration;
mod error;
mod header;
mod json;
mod origin;
mod permit;
mod transform;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use mayfly_types::{AppName, MachineId};

use crate::RegionList;

pub use cache_rule::{CacheOrder, CacheRule, UrlPattern};
pub use error::{InvalidReplay, ReplayRefusal};
pub use header::ReplayHeaders;
pub use json::{REPLAY_JSON, REPLAY_JSON_MAX};
pub use origin::{ReplayFailure, ReplayOrigin, replay_failed, replay_src};
pub use permit::{Party, ReplaySources};
pub use transform::Transform;

/// The longest request body that can be replayed, in bytes; longer ones end in `PA01`.
pub const REPLAY_BODY_MAX: usize = 1 << 20;
/// How often one request can be replayed; the next replay ends in `PA02`.
pub const REPLAYS_MAX: u8 = 10;

/// Where a request shall be answered instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub regions: Option<RegionList>,
    /// Only this machine will do.
    pub instance: Option<InstanceName>,
    /// This machine if it can, else whichever fits the other fields.
    pub prefer_instance: Option<InstanceName>,
    /// `None` stays with the app that asks.
    pub app: Option<AppName>,
    /// Given to the target in `fly-replay-src`; no control characters.
    pub state: Option<String>,
    /// Any machine but the one that asks.
    pub elsewhere: bool,
    /// How long to look for the target; positive.
    pub timeout: Option<Duration>,
    pub fallback: Option<Fallback>,
    pub transform: Transform,
    /// What to remember. The replay itself is followed even where this cannot be, since a cache is never a promise.
    pub cache: Result<Option<CacheOrder>, InvalidReplay>,
}

/// Who answers when the target cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The machine that asked, or nobody.
    ForceSelf,
    /// The machine that asked, or another one of its app.
    PreferSelf,
}

/// The name of a machine as an app wrote it. It may be no machine's: then there is no candidate, which is for the
/// fallback to handle, not a mistake in the replay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceName(String);

impl InstanceName {
    const LENGTH_MAX: usize = 64;

    fn new(text: &str) -> Option<InstanceName> {
        let fits = (1..=Self::LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| InstanceName(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None` if no machine can have this name.
    pub fn machine(&self) -> Option<MachineId> {
        self.0.parse().ok()
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Replay {
    fn default() -> Self {
        Replay {
            regions: None,
            instance: None,
            prefer_instance: None,
            app: None,
            state: None,
            elsewhere: false,
            timeout: None,
            fallback: None,
            transform: Transform::default(),
            cache: Ok(None),
        }
    }
}

impl Replay {
    /// Whether the app said anything about the target at all.
    fn names_target(&self) -> bool {
        self.regions.is_some()
            || self.instance.is_some()
            || self.prefer_instance.is_some()
            || self.app.is_some()
            || self.elsewhere
            || self.state.is_some()
    }

    /// What the two forms share once their fields are read.
    fn checked(mut self) -> Result<Replay, InvalidReplay> {
        if !self.names_target() {
            return Err(InvalidReplay::NoTarget);
        }
        if self.instance.is_some() && self.prefer_instance.is_some() {
            return Err(InvalidReplay::Both("instance", "prefer_instance"));
        }
        if let Ok(Some(CacheOrder::Keep(_))) = &self.cache
            && let Some(field) = self.uncacheable()
        {
            self.cache = Err(InvalidReplay::NotCacheable(field));
        }
        Ok(self)
    }

    /// The field that keeps a replay out of every cache.
    pub fn uncacheable(&self) -> Option<&'static str> {
        if self.state.is_some() {
            Some("state")
        } else if !self.transform.is_empty() {
            Some("transform")
        } else if self.timeout.is_some() {
            Some("timeout")
        } else if self.fallback.is_some() {
            Some("fallback")
        } else {
            None
        }
    }
}

fn fallback(text: &str) -> Result<Fallback, InvalidReplay> {
    match text {
        "force_self" => Ok(Fallback::ForceSelf),
        "prefer_self" => Ok(Fallback::PreferSelf),
        _ => Err(InvalidReplay::field(
            "fallback",
            text,
            "use force_self or prefer_self",
        )),
    }
}

fn instance(field: &'static str, text: &str) -> Result<InstanceName, InvalidReplay> {
    InstanceName::new(text)
        .ok_or_else(|| InvalidReplay::field(field, text, "use the id of a machine"))
}

fn app(text: &str) -> Result<AppName, InvalidReplay> {
    text.parse().map_err(|_| {
        InvalidReplay::field(
            "app",
            text,
            "use the name of an app: 1 to 63 of a-z, 0-9 and -",
        )
    })
}

fn regions(text: &str) -> Result<RegionList, InvalidReplay> {
    text.parse()
        .map_err(|_| InvalidReplay::field("region", text, "use region codes such as \"iad,ord\", or one of apac, eu, na, sa, us, any; quote a list"))
}

fn state(text: &str) -> Result<String, InvalidReplay> {
    const LENGTH_MAX: usize = 4096;
    if text.len() > LENGTH_MAX || text.chars().any(char::is_control) {
        return Err(InvalidReplay::field(
            "state",
            text,
            "use at most 4096 bytes without control characters",
        ));
    }
    Ok(text.to_owned())
}

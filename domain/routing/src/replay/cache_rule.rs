use std::str::FromStr;
use std::time::Duration;

use super::InvalidReplay;

/// The least and greatest time a replay is remembered.
const TTL_LEAST: Duration = Duration::from_secs(10);
const TTL_MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What an app asks of the replay cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheOrder {
    Keep(CacheRule),
    /// Forget what is remembered for this request.
    Invalidate,
}

/// Requests that fit `pattern` go straight to the target for `ttl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    pub pattern: UrlPattern,
    /// At least ten seconds.
    pub ttl: Duration,
    /// Clients may ask to skip what is remembered.
    pub allow_bypass: bool,
}

/// `[host]/path[/*]`: a path with everything below it, of one host or of whichever the request was for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPattern {
    /// Lower case, without port.
    pub host: Option<String>,
    /// Begins with `/` or is empty, which is everything; does not end with `/` or `*`.
    pub path: String,
}

impl UrlPattern {
    /// Whether a request for `path`, without its query, on `host` fits.
    pub fn matches(&self, host: &str, path: &str) -> bool {
        self.host.as_deref().is_none_or(|own| own == host) && self.matches_path(path)
    }

    fn matches_path(&self, path: &str) -> bool {
        path.strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for UrlPattern {
    type Err = InvalidReplay;

    fn from_str(text: &str) -> Result<Self, InvalidReplay> {
        let invalid = |expected| InvalidReplay::field("cache", text, expected);
        let text = text.trim();
        if text.len() > 1024 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("use at most 1024 visible ASCII characters"));
        }
        let slash = text
            .find('/')
            .ok_or_else(|| invalid("use /path/* or host.example/path/*"))?;
        let (host, path) = text.split_at(slash);
        if host.contains(':') {
            return Err(invalid("name the host without scheme and port"));
        }
        let path = path.strip_suffix('*').unwrap_or(path).trim_end_matches('/');
        if path.contains(['*', '?', '#']) {
            return Err(invalid(
                "a * stands at the end only, and no query is matched",
            ));
        }
        Ok(UrlPattern {
            host: (!host.is_empty()).then(|| host.to_ascii_lowercase()),
            path: path.to_owned(),
        })
    }
}

pub(super) fn ttl(
    field: &'static str,
    shown: &str,
    ttl: Option<Duration>,
) -> Result<Duration, InvalidReplay> {
    ttl.filter(|ttl| (TTL_LEAST..=TTL_MOST).contains(ttl))
        .ok_or_else(|| InvalidReplay::field(field, shown, "use 10 to 604800 seconds"))
}

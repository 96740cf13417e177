use mayfly_types::ErrorKind;

/// An app's replay that cannot be understood; the client gets `PA03`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReplay {
    #[error("fly-replay names no target: set region, instance, prefer_instance, app or elsewhere")]
    NoTarget,
    #[error(
        "fly-replay has no field `{0}`: use region, instance, prefer_instance, app, state, elsewhere, timeout or fallback"
    )]
    UnknownField(String),
    #[error(
        "fly-replay has `{0}` where `field=value` is expected; a value with `,` or `;` must be quoted"
    )]
    NotAField(String),
    #[error("fly-replay gives `{0}` more than once")]
    Twice(&'static str),
    #[error("fly-replay sets both `{0}` and `{1}`: choose one")]
    Both(&'static str, &'static str),
    #[error("fly-replay has a quote that does not end")]
    OpenQuote,
    #[error("fly-replay is not text")]
    NotText,
    #[error("`{field}` of the replay is `{value}`: {expected}")]
    Field {
        field: &'static str,
        /// Shortened.
        value: String,
        expected: &'static str,
    },
    #[error("read the replay's JSON: {0}")]
    Json(String),
    #[error("the replay's JSON is longer than {} KiB", super::REPLAY_JSON_MAX / 1024)]
    JsonTooLong,
    #[error("a replay with `{0}` cannot be cached")]
    NotCacheable(&'static str),
    #[error("the replay's cache pattern does not match the request")]
    CacheElsewhere,
}

impl InvalidReplay {
    pub(crate) fn field(field: &'static str, value: &str, expected: &'static str) -> InvalidReplay {
        InvalidReplay::Field {
            field,
            value: value.chars().take(80).collect(),
            expected,
        }
    }
}

/// Why a replay is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefusal {
    #[error("the request is longer than 1 MB and cannot be replayed")]
    TooLarge,
    #[error("the request was replayed more than {} times", super::REPLAYS_MAX)]
    TooOften,
    #[error(transparent)]
    Invalid(#[from] InvalidReplay),
    #[error("replay to app {0}: no such app")]
    NoSuchApp(String),
    #[error("replay to app {0}: it does not take replays from this app's organization or network")]
    NotPermitted(String),
}

impl ReplayRefusal {
    /// As documented on <https://fly.io/docs/monitoring/error-codes/>.
    pub fn code(&self) -> &'static str {
        match self {
            ReplayRefusal::TooLarge => "PA01",
            ReplayRefusal::TooOften => "PA02",
            ReplayRefusal::Invalid(_) => "PA03",
            ReplayRefusal::NoSuchApp(_) => "PA04",
            ReplayRefusal::NotPermitted(_) => "PA05",
        }
    }

    /// The status the client gets: its own fault only where the request is too large.
    pub fn status(&self) -> u16 {
        match self {
            ReplayRefusal::TooLarge => 413,
            _ => 502,
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            ReplayRefusal::TooLarge | ReplayRefusal::TooOften => ErrorKind::Exhausted,
            ReplayRefusal::Invalid(_) => ErrorKind::Invalid,
            ReplayRefusal::NoSuchApp(_) => ErrorKind::NotFound,
            ReplayRefusal::NotPermitted(_) => ErrorKind::Denied,
        }
    }
}

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// In which order an app's machines get a release: <https://fly.io/docs/apps/deploy/>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other, each has to be up before the next.
    #[default]
    Rolling,
    /// All at once, without waiting for any.
    Immediate,
    /// One extra machine first; if it comes up, the others follow as in `Rolling`.
    Canary,
    /// A whole new set beside the old one; traffic moves when all of it is up.
    BlueGreen,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strategy must be one of rolling, immediate, canary, bluegreen; got \"{0}\"")]
pub struct UnknownStrategy(String);

impl Strategy {
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Rolling => "rolling",
            Strategy::Immediate => "immediate",
            Strategy::Canary => "canary",
            Strategy::BlueGreen => "bluegreen",
        }
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        [
            Strategy::Rolling,
            Strategy::Immediate,
            Strategy::Canary,
            Strategy::BlueGreen,
        ]
        .into_iter()
        .find(|strategy| strategy.as_str() == text)
        .ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many of a group's running machines may be down for the release at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unavailable {
    Count(usize),
    /// Of the group, from 0 to 1.
    Share(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("max_unavailable must be a share below 1 or a whole number from 1; got {0}")]
pub struct InvalidUnavailable(f64);

impl Default for Unavailable {
    /// A third, as documented.
    fn default() -> Self {
        Unavailable::Share(0.33)
    }
}

impl TryFrom<f64> for Unavailable {
    type Error = InvalidUnavailable;

    /// As written in a configuration: below 1 a share, from 1 on a count.
    fn try_from(value: f64) -> Result<Self, InvalidUnavailable> {
        if value > 0.0 && value < 1.0 {
            return Ok(Unavailable::Share(value));
        }
        if value >= 1.0 && value.fract() == 0.0 && value <= f64::from(u32::MAX) {
            return Ok(Unavailable::Count(value as usize));
        }
        Err(InvalidUnavailable(value))
    }
}

impl Unavailable {
    /// Of `all` machines; never none, or the release would never arrive.
    pub fn of(self, all: usize) -> usize {
        let most = match self {
            Unavailable::Count(count) => count,
            Unavailable::Share(share) => (share * all as f64).ceil() as usize,
        };
        most.max(1)
    }
}

/// What a release was asked to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    pub strategy: Strategy,
    pub max_unavailable: Unavailable,
    /// How many machines of a group are changed at once at most.
    pub max_concurrent: usize,
    /// How long one machine may take to be up.
    pub wait_timeout: Duration,
    /// Machines have to pass their checks.
    pub checks: bool,
    /// Watch machines without checks for a while before they count as up.
    pub smoke_checks: bool,
}

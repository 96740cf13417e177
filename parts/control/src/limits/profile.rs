use std::str::FromStr;
use std::time::Duration;

use http::Method;

use super::bucket::Rate;

/// Which limits the API holds its callers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiLimits {
    /// None: the usual choice for a cloud of one's own.
    #[default]
    Off,
    /// One request per second and action of an app or machine, three at once; five per second and ten at once to read
    /// one machine; of an organization 100 apps deleted per minute: <https://fly.io/docs/machines/api/working-with-machines-api/#rate-limits>.
    Official,
    /// Of an organization per minute: 10 machines created and 10 destroyed, 30 started and 30 stopped, 120 reads, 5 apps
    /// created and 5 deleted, 15 of each action on volumes.
    Seed001,
}

/// A name that stands for no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no profile of limits: use off, official or seed-001")]
pub struct UnknownProfile(String);

impl FromStr for ApiLimits {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        match name {
            "off" => Ok(ApiLimits::Off),
            "official" => Ok(ApiLimits::Official),
            "seed-001" => Ok(ApiLimits::Seed001),
            _ => Err(UnknownProfile(name.to_owned())),
        }
    }
}

/// Where a request turns out to be whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Account,
    App,
    Machine,
}

/// What a request is charged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// For people.
    pub(super) name: &'static str,
    /// Tells actions apart that have one name; else empty.
    pub(super) path: String,
    pub(super) rate: Rate,
    pub(super) scope: Scope,
    /// All of an organization pay from one bucket.
    pub(super) by_org: bool,
}

impl ApiLimits {
    /// What a request to a path of the router is charged for, if anything.
    pub(super) fn action(self, method: &Method, path: &str) -> Option<Action> {
        let path = path.trim_end_matches('/');
        let below_app = path.strip_prefix("/v1/apps")?;
        let scope = match below_app {
            "" => Scope::Account,
            _ if below_app.contains("{machine}") => Scope::Machine,
            _ => Scope::App,
        };
        match self {
            ApiLimits::Off => None,
            ApiLimits::Official => Some(official(method, path, scope)),
            ApiLimits::Seed001 => {
                let (name, per_minute) = seed_001(method, below_app)?;
                Some(Action {
                    name,
                    path: String::new(),
                    rate: Rate {
                        burst: per_minute,
                        period: Duration::from_secs(60) / per_minute,
                    },
                    scope,
                    by_org: true,
                })
            }
        }
    }
}

fn official(method: &Method, path: &str, scope: Scope) -> Action {
    let (name, burst, period) = match (method.as_str(), path) {
        ("DELETE", "/v1/apps/{app}") => ("delete apps", 100, Duration::from_millis(600)),
        ("GET", one) if one.ends_with("/{machine}") => {
            ("get machine", 10, Duration::from_millis(200))
        }
        _ => ("action", 3, Duration::from_secs(1)),
    };
    Action {
        name,
        path: format!("{method} {path}"),
        rate: Rate { burst, period },
        scope,
        by_org: name == "delete apps",
    }
}

fn seed_001(method: &Method, below_app: &str) -> Option<(&'static str, u32)> {
    let verb = method.as_str();
    if below_app.contains("/volumes") {
        return match verb {
            "POST" => Some(("change volumes", 15)),
            "DELETE" => Some(("delete volumes", 15)),
            "PUT" => Some(("extend volumes", 15)),
            _ => Some(("read volumes", 15)),
        };
    }
    match (verb, below_app) {
        ("POST", "") => Some(("create apps", 5)),
        ("DELETE", "/{app}") => Some(("delete apps", 5)),
        ("POST", "/{app}/machines") => Some(("create machines", 10)),
        ("DELETE", "/{app}/machines/{machine}") => Some(("delete machines", 10)),
        ("POST", "/{app}/machines/{machine}/start") => Some(("start machines", 30)),
        ("POST", "/{app}/machines/{machine}/stop") => Some(("stop machines", 30)),
        ("GET", "" | "/{app}" | "/{app}/machines" | "/{app}/machines/{machine}") => {
            Some(("list and get", 120))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_charged_as_documented() {
        let charged = |profile: ApiLimits, method: Method, path: &str| {
            let action = profile.action(&method, path)?;
            Some((
                action.name,
                action.rate.burst,
                action.rate.period.as_millis(),
            ))
        };
        let one = "/v1/apps/{app}/machines/{machine}";
        let seed = ApiLimits::Seed001;
        assert_eq!(
            charged(seed, Method::POST, "/v1/apps/{app}/machines"),
            Some(("create machines", 10, 6_000))
        );
        assert_eq!(
            charged(seed, Method::POST, "/v1/apps"),
            Some(("create apps", 5, 12_000))
        );
        assert_eq!(
            charged(seed, Method::GET, &format!("{one}/")),
            Some(("list and get", 120, 500))
        );
        assert_eq!(
            charged(seed, Method::POST, &format!("{one}/stop")),
            Some(("stop machines", 30, 2_000))
        );
        assert_eq!(charged(seed, Method::GET, &format!("{one}/wait")), None);
        let official = ApiLimits::Official;
        assert_eq!(
            charged(official, Method::GET, one),
            Some(("get machine", 10, 200))
        );
        assert_eq!(
            charged(official, Method::POST, &format!("{one}/start")),
            Some(("action", 3, 1_000))
        );
        assert_eq!(
            charged(official, Method::DELETE, "/v1/apps/{app}"),
            Some(("delete apps", 100, 600))
        );
        assert_eq!(charged(official, Method::GET, "/v1/platform/regions"), None);
        assert_eq!(charged(ApiLimits::Off, Method::POST, "/v1/apps"), None);
        assert_eq!("seed-001".parse(), Ok(seed));
        assert!(
            "seed"
                .parse::<ApiLimits>()
                .unwrap_err()
                .to_string()
                .contains("official")
        );
    }
}

use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_machine::{Healthcheck, Probe};

use super::field::{At, InvalidConfig, absent_if_empty};
use crate::GoDuration;
use crate::config::{Check, ContainerHealthcheck, HttpHeader, HttpProbe, MachineConfig};

/// Seconds between probes, and seconds one may take, when a healthcheck does not say.
const INTERVAL: i64 = 30;
const TIMEOUT: i64 = 10;
const SECONDS_MAX: i64 = 3600;

pub(super) fn healthchecks(
    checks: Option<&[ContainerHealthcheck]>,
    at: &At,
) -> Result<Vec<Healthcheck>, InvalidConfig> {
    let checks = checks.unwrap_or_default().iter().enumerate();
    checks
        .map(|(index, check)| healthcheck(check, &at.index(index)))
        .collect()
}

fn healthcheck(check: &ContainerHealthcheck, at: &At) -> Result<Healthcheck, InvalidConfig> {
    at.field("kind")
        .word(check.kind.as_ref(), &["readiness", "liveness"])?;
    at.field("unhealthy")
        .word(check.unhealthy.as_ref(), &["stop"])?;
    let seconds = |name: &str, value: Option<i64>, unset: i64, least: i64| {
        // Go clients leave zero out, so it means the default.
        let value = value.filter(|value| *value != 0).unwrap_or(unset);
        let seconds = at.field(name).within(value, least, SECONDS_MAX)?;
        Ok::<_, InvalidConfig>(Duration::from_secs(seconds))
    };
    let threshold = |name: &str, value: Option<i64>, unset: i64| {
        let value = value.filter(|value| *value != 0).unwrap_or(unset);
        at.field(name).within::<u32>(value, 1, 1000)
    };
    let probe = match (&check.http, &check.tcp, &check.exec) {
        (Some(http), None, None) => http_probe(http, &at.field("http"))?,
        (None, Some(tcp), None) => Probe::Tcp {
            port: at.field("tcp").field("port").port(tcp.port)?,
        },
        (None, None, Some(exec)) => {
            let at = at.field("exec").field("command");
            match at.arguments(exec.command.as_ref())? {
                Some(command) => Probe::Exec { command },
                None => return at.refuse("is required: the program and its arguments"),
            }
        }
        _ => return at.refuse("must have exactly one of http, tcp and exec"),
    };
    Ok(Healthcheck {
        name: absent_if_empty(check.name.as_ref()).cloned(),
        interval: seconds("interval", check.interval, INTERVAL, 1)?,
        grace_period: seconds("grace_period", check.grace_period, 0, 0)?,
        timeout: seconds("timeout", check.timeout, TIMEOUT, 1)?,
        success_threshold: threshold("success_threshold", check.success_threshold, 1)?,
        failure_threshold: threshold("failure_threshold", check.failure_threshold, 3)?,
        stop_when_unhealthy: check.unhealthy.as_deref() == Some("stop"),
        probe,
    })
}

fn http_probe(http: &HttpProbe, at: &At) -> Result<Probe, InvalidConfig> {
    at.field("scheme")
        .word(http.scheme.as_ref(), &["http", "https"])?;
    let headers: BTreeMap<String, String> = headers(http.headers.as_deref(), at)?;
    Ok(Probe::Http {
        port: at.field("port").port(http.port)?,
        method: absent_if_empty(http.method.as_ref())
            .map_or_else(|| "GET".to_owned(), |method| method.to_ascii_uppercase()),
        path: url_path(http.path.as_ref(), &at.field("path"))?,
        headers,
        tls: http.scheme.as_deref() == Some("https"),
        tls_skip_verify: http.tls_skip_verify.unwrap_or(false),
        tls_server_name: absent_if_empty(http.tls_server_name.as_ref()).cloned(),
    })
}

fn headers(
    headers: Option<&[HttpHeader]>,
    at: &At,
) -> Result<BTreeMap<String, String>, InvalidConfig> {
    let mut read = BTreeMap::new();
    for (index, header) in headers.unwrap_or_default().iter().enumerate() {
        let at = at.field("headers").index(index);
        let name = header.name.clone().unwrap_or_default();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return at
                .field("name")
                .refuse("must be the name of an HTTP header");
        }
        let value = header.values.clone().unwrap_or_default().join(", ");
        if value.contains(|c: char| c.is_control() && c != '\t') {
            return at
                .field("values")
                .refuse("must not contain control characters");
        }
        read.insert(name, value);
    }
    Ok(read)
}

fn url_path(path: Option<&String>, at: &At) -> Result<String, InvalidConfig> {
    match absent_if_empty(path) {
        None => Ok("/".to_owned()),
        Some(path)
            if path.starts_with('/')
                && !path.contains(|c: char| c.is_whitespace() || c.is_control()) =>
        {
            Ok(path.clone())
        }
        Some(_) => at.refuse("must begin with / and contain no white space"),
    }
}

/// Machine checks and metrics: stored for the parts that act on them, so their rules are held here.
pub(super) fn check_machine(config: &MachineConfig, at: &At) -> Result<(), InvalidConfig> {
    for (name, check) in config.checks.iter().flatten() {
        let at = at.field("checks").field(name);
        at.field("port").port(check.port)?;
        self::check(check, &at)?;
        at.field("kind")
            .word(check.kind.as_ref(), &["informational", "readiness"])?;
    }
    if let Some(metrics) = &config.metrics {
        let at = at.field("metrics");
        at.field("port").port(metrics.port)?;
        url_path(metrics.path.as_ref(), &at.field("path"))?;
    }
    Ok(())
}

/// The rules that machine checks and service checks share; `port` is the caller's.
pub(super) fn check(check: &Check, at: &At) -> Result<(), InvalidConfig> {
    match check.check_type.as_deref() {
        Some("tcp" | "http") => {}
        _ => return at.field("type").one_of(&["tcp", "http"]),
    }
    at.field("protocol")
        .word(check.protocol.as_ref(), &["http", "https"])?;
    url_path(check.path.as_ref(), &at.field("path"))?;
    headers(check.headers.as_deref(), at)?;
    let spans: [(&str, Option<GoDuration>); 3] = [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("grace_period", check.grace_period),
    ];
    for (name, span) in spans {
        if span.is_some_and(|span| span.0 > Duration::from_secs(SECONDS_MAX.unsigned_abs())) {
            return at.field(name).refuse("must be at most 1h");
        }
    }
    Ok(())
}

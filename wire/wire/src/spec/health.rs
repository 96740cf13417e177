use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_machine::{CheckProbe, CheckSpec, CheckTls, Healthcheck, Probe};

use super::field::{At, InvalidConfig, absent_if_empty};
use crate::GoDuration;
use crate::config::{Check, ContainerHealthcheck, HttpHeader, HttpProbe, MachineConfig};

/// Seconds between probes, and seconds one may take, when a healthcheck does not say.
const INTERVAL: i64 = 30;
const TIMEOUT: i64 = 10;
const SECONDS_MAX: i64 = 3600;
/// What a check that leaves its times out gets: <https://fly.io/docs/reference/configuration/#services-http_checks>.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
const CHECK_GRACE: Duration = Duration::ZERO;

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
        header_name(&name, &at.field("name"))?;
        let value = header.values.clone().unwrap_or_default().join(", ");
        header_value(&value, &at.field("values"))?;
        read.insert(name, value);
    }
    Ok(read)
}

/// RFC 9110, 5.6.2.
pub(super) fn header_name(name: &str, at: &At) -> Result<(), InvalidConfig> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return at.refuse("must be the name of an HTTP header");
    }
    Ok(())
}

pub(super) fn header_value(value: &str, at: &At) -> Result<(), InvalidConfig> {
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return at.refuse("must not contain control characters");
    }
    Ok(())
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

/// Metrics: stored for the part that will collect them, so their rules are held here.
pub(super) fn check_metrics(config: &MachineConfig, at: &At) -> Result<(), InvalidConfig> {
    if let Some(metrics) = &config.metrics {
        let at = at.field("metrics");
        at.field("port").port(metrics.port)?;
        url_path(metrics.path.as_ref(), &at.field("path"))?;
    }
    Ok(())
}

/// Top-level checks by name.
pub(super) fn checks(
    config: &MachineConfig,
    at: &At,
) -> Result<BTreeMap<String, CheckSpec>, InvalidConfig> {
    let checks = config.checks.iter().flatten();
    checks
        .map(|(name, check)| {
            let at = at.field("checks").field(name);
            let port = at.field("port").port(check.port)?;
            at.field("kind")
                .word(check.kind.as_ref(), &["informational", "readiness"])?;
            Ok((name.clone(), self::check(check, port, &at)?))
        })
        .collect()
}

/// The rules that machine checks and service checks share; which port is probed is the caller's.
pub(super) fn check(check: &Check, port: u16, at: &At) -> Result<CheckSpec, InvalidConfig> {
    at.field("protocol")
        .word(check.protocol.as_ref(), &["http", "https"])?;
    let path = url_path(check.path.as_ref(), &at.field("path"))?;
    let headers = headers(check.headers.as_deref(), at)?;
    let tls = (check.protocol.as_deref() == Some("https")).then(|| CheckTls {
        skip_verify: check.tls_skip_verify.unwrap_or(false),
        server_name: absent_if_empty(check.tls_server_name.as_ref()).cloned(),
    });
    let probe = match check.check_type.as_deref() {
        Some("tcp") => CheckProbe::Tcp,
        Some("http") => CheckProbe::Http {
            method: absent_if_empty(check.method.as_ref())
                .map_or_else(|| "GET".to_owned(), |method| method.to_ascii_uppercase()),
            path,
            headers: headers.into_iter().collect(),
            tls,
        },
        _ => return at.field("type").one_of(&["tcp", "http"]),
    };
    let span = |name: &str, span: Option<GoDuration>, unset: Duration, least: Duration| match span {
        Some(GoDuration(span)) if span > Duration::from_secs(SECONDS_MAX.unsigned_abs()) => {
            at.field(name).refuse("must be at most 1h")
        }
        Some(GoDuration(span)) if !span.is_zero() => Ok(span.max(least)),
        _ => Ok(unset),
    };
    let second = Duration::from_secs(1);
    Ok(CheckSpec {
        port,
        interval: span("interval", check.interval, CHECK_INTERVAL, second)?,
        timeout: span("timeout", check.timeout, CHECK_TIMEOUT, Duration::ZERO)?,
        grace_period: span(
            "grace_period",
            check.grace_period,
            CHECK_GRACE,
            Duration::ZERO,
        )?,
        probe,
    })
}

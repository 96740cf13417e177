use std::time::Duration;

use mayfly_wire::GoDuration;

use crate::config::{AppConfig, Service, TopLevelCheck};
use crate::problem::Problem;

pub(super) fn check(config: &AppConfig, problems: &mut Vec<Problem>) {
    for (path, service) in config.all_services() {
        self::service(config, &path, &service, problems);
    }
    for (name, check) in config.checks.iter().flatten() {
        top_level(config, &format!("checks.{name}"), check, problems);
    }
    if config
        .http_service
        .as_ref()
        .is_some_and(|service| service.internal_port.is_none())
    {
        problems.push(
            Problem::error(
                "http_service.internal_port",
                "is required: the port the app listens on",
            )
            .remedy("Add internal_port = 8080, or whatever port the app uses."),
        );
    }
    metrics(config, problems);
    statics(config, problems);
    machine_checks(config, problems);
}

fn service(config: &AppConfig, path: &str, service: &Service, problems: &mut Vec<Problem>) {
    let groups = config.groups();
    let named = service.processes.iter().flatten().count() > 0;
    if !named && groups.len() > 1 {
        problems.push(
            Problem::warning(
                format!("{path}.processes"),
                format!(
                    "is missing while there are {} process groups: only \"{}\" gets this service",
                    groups.len(),
                    config.default_group()
                ),
            )
            .rule("unfiltered-service")
            .remedy(format!(
                "Say which: processes = [\"{}\"]",
                config.default_group()
            )),
        );
    }
    if path != "http_service" && service.ports.iter().flatten().count() == 0 {
        problems.push(Problem::warning(
            format!("{path}.ports"),
            "is missing: the service is reachable from the private network only",
        ));
    }
    for (index, port) in service.ports.iter().flatten().enumerate() {
        let at = format!("{path}.ports[{index}]");
        match (port.port, port.start_port, port.end_port) {
            (Some(_), None, None) => {}
            (None, Some(start), Some(end)) if start <= end => {}
            (None, Some(_), Some(_)) => problems.push(Problem::error(
                format!("{at}.end_port"),
                "must not be below start_port",
            )),
            _ => problems.push(Problem::error(
                at,
                "must have either port, or start_port and end_port",
            )),
        }
    }
    if let Some(limits) = &service.concurrency
        && let (Some(soft), Some(hard)) = (limits.soft_limit, limits.hard_limit)
        && hard != 0
        && soft > hard
    {
        problems.push(Problem::error(
            format!("{path}.concurrency.soft_limit"),
            format!("must not exceed hard_limit; got {soft} and {hard}"),
        ));
    }
    let http = if path == "http_service" {
        "checks"
    } else {
        "http_checks"
    };
    let tcp = service.tcp_checks.iter().flatten().enumerate();
    let times = tcp.map(|(index, check)| {
        (
            format!("tcp_checks[{index}]"),
            check.interval,
            check.timeout,
        )
    });
    let checks = service.http_checks.iter().flatten().enumerate();
    let times = times.chain(
        checks.map(|(index, check)| (format!("{http}[{index}]"), check.interval, check.timeout)),
    );
    for (at, interval, timeout) in times {
        within(&format!("{path}.{at}.interval"), interval, 1, problems);
        within(&format!("{path}.{at}.timeout"), timeout, 1, problems);
    }
}

/// The cloud moves what is out of bounds; the user should know.
fn within(path: &str, span: Option<GoDuration>, least_s: u64, problems: &mut Vec<Problem>) {
    let Some(span) = span else {
        return;
    };
    let moved = if span.0 < Duration::from_secs(least_s) {
        format!("{least_s}s")
    } else if span.0 > Duration::from_secs(60) {
        "1m".to_owned()
    } else {
        return;
    };
    problems.push(Problem::warning(
        path,
        format!("{span} is out of bounds and counts as {moved}: from {least_s}s to 1m"),
    ));
}

fn top_level(config: &AppConfig, path: &str, check: &TopLevelCheck, problems: &mut Vec<Problem>) {
    if check.check_type.is_none() {
        problems.push(Problem::error(
            format!("{path}.type"),
            "is required: \"http\" or \"tcp\"",
        ));
    }
    let default = config
        .http_service
        .as_ref()
        .and_then(|service| service.internal_port);
    if check.port.or(default).is_none() {
        problems.push(Problem::error(
            format!("{path}.port"),
            "is required: there is no http_service whose port it could be",
        ));
    }
    if check
        .interval
        .is_some_and(|interval| interval.0 < Duration::from_secs(2))
    {
        problems.push(Problem::error(
            format!("{path}.interval"),
            "must be at least 2s",
        ));
    }
    if check
        .timeout
        .is_some_and(|timeout| timeout.0 > Duration::from_secs(60))
    {
        problems.push(Problem::error(
            format!("{path}.timeout"),
            "must be at most 60s",
        ));
    }
    if check.check_type.as_deref() == Some("tcp")
        && (check.path.is_some() || check.method.is_some())
    {
        problems.push(Problem::warning(
            path,
            "is a tcp check: its method and path are ignored",
        ));
    }
}

fn metrics(config: &AppConfig, problems: &mut Vec<Problem>) {
    for (index, metrics) in config.metrics.iter().flatten().enumerate() {
        if metrics.port.is_none() {
            problems.push(Problem::error(
                format!("metrics[{index}].port"),
                "is required: the port metrics are offered on",
            ));
        }
    }
}

fn statics(config: &AppConfig, problems: &mut Vec<Problem>) {
    for (index, entry) in config.statics.iter().flatten().enumerate() {
        let at = |key: &str| format!("statics[{index}].{key}");
        if entry
            .guest_path
            .as_deref()
            .is_none_or(|path| path.is_empty())
        {
            problems.push(Problem::error(
                at("guest_path"),
                "is required: a directory in the image",
            ));
        }
        match entry.url_prefix.as_deref() {
            None | Some("") => problems.push(Problem::error(
                at("url_prefix"),
                "is required, such as /static/",
            )),
            Some(prefix) if !prefix.starts_with('/') => {
                problems.push(Problem::error(
                    at("url_prefix"),
                    format!("must begin with /; got \"{prefix}\""),
                ));
            }
            Some(_) => {}
        }
    }
}

fn machine_checks(config: &AppConfig, problems: &mut Vec<Problem>) {
    let of_services = config.all_services().into_iter().map(|(path, service)| {
        (
            format!("{path}.machine_checks"),
            service.machine_checks.unwrap_or_default(),
        )
    });
    let own = (
        "machine_checks".to_owned(),
        config.machine_checks.clone().unwrap_or_default(),
    );
    for (path, checks) in of_services.chain([own]) {
        for (index, check) in checks.iter().enumerate() {
            if check.command.iter().flatten().count() == 0 {
                problems.push(Problem::error(
                    format!("{path}[{index}].command"),
                    "is required: the command that tests the machine",
                ));
            }
        }
    }
}

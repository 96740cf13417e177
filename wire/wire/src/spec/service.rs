use mayfly_machine::{Protocol, ServiceSpec};
use serde_json::Value;

use super::field::{At, InvalidConfig};
use super::health;
use crate::config::{HttpOptions, Port, Service};

const HANDLERS: [&str; 5] = ["http", "tls", "pg_tls", "proxy_proto", "edge_http"];

pub(super) fn services(
    services: Option<&[Service]>,
    at: &At,
) -> Result<Vec<ServiceSpec>, InvalidConfig> {
    let services = services.unwrap_or_default().iter().enumerate();
    services
        .map(|(index, service)| self::service(service, &at.index(index)))
        .collect()
}

fn service(service: &Service, at: &At) -> Result<ServiceSpec, InvalidConfig> {
    let protocol = match service.protocol.as_deref() {
        None | Some("" | "tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some(_) => return at.field("protocol").one_of(&["tcp", "udp"]),
    };
    let internal_port = at.field("internal_port").port(service.internal_port)?;
    if let Some(count) = service.min_machines_running {
        let at = at.field("min_machines_running");
        at.within::<i64>(count, 0, 1_000_000)?;
    }
    for (index, port) in service.ports.iter().flatten().enumerate() {
        self::port(port, protocol, &at.field("ports").index(index))?;
    }
    for (index, check) in service.checks.iter().flatten().enumerate() {
        let at = at.field("checks").index(index);
        if let Some(port) = check.port {
            at.field("port").port(Some(port))?;
        }
        if check.kind.is_some() {
            return at.field("kind").refuse("belongs to config.checks only");
        }
        health::check(check, &at)?;
    }
    if let Some(concurrency) = &service.concurrency {
        let at = at.field("concurrency");
        at.field("type").word(
            concurrency.limit_type.as_ref(),
            &["connections", "requests"],
        )?;
        let (soft, hard) = (
            concurrency.soft_limit.unwrap_or(0),
            concurrency.hard_limit.unwrap_or(0),
        );
        at.field("soft_limit").within::<i64>(soft, 0, 1_000_000)?;
        at.field("hard_limit").within::<i64>(hard, 0, 1_000_000)?;
        if hard != 0 && soft > hard {
            return at.field("soft_limit").refuse("must not exceed hard_limit");
        }
    }
    Ok(ServiceSpec {
        protocol,
        internal_port,
    })
}

fn port(port: &Port, protocol: Protocol, at: &At) -> Result<(), InvalidConfig> {
    match (port.port, port.start_port, port.end_port) {
        (Some(number), None, None) => {
            at.field("port").port(Some(number))?;
        }
        (None, Some(start), Some(end)) => {
            at.field("start_port").port(Some(start))?;
            at.field("end_port").port(Some(end))?;
            if start > end {
                return at.field("end_port").refuse("must not be below start_port");
            }
        }
        _ => return at.refuse("must have either port, or start_port and end_port"),
    }
    let handlers = port.handlers.as_deref().unwrap_or_default();
    for (index, handler) in handlers.iter().enumerate() {
        if !HANDLERS.contains(&handler.as_str()) {
            return at.field("handlers").index(index).one_of(&HANDLERS);
        }
    }
    if protocol == Protocol::Udp && !handlers.is_empty() {
        return at.field("handlers").refuse("must be empty for udp");
    }
    if port.force_https == Some(true) && !handlers.iter().any(|handler| handler == "http") {
        return at
            .field("force_https")
            .refuse("needs \"http\" among the handlers");
    }
    if let Some(tls) = &port.tls_options {
        let at = at.field("tls_options");
        words(tls.alpn.as_deref(), &["h2", "http/1.1"], &at.field("alpn"))?;
        let versions = &["TLSv1.2", "TLSv1.3"];
        words(tls.versions.as_deref(), versions, &at.field("versions"))?;
    }
    if let Some(proxy) = &port.proxy_proto_options {
        let at = at.field("proxy_proto_options").field("version");
        at.word(proxy.version.as_ref(), &["v1", "v2"])?;
    }
    match &port.http_options {
        Some(options) => http_options(options, &at.field("http_options")),
        None => Ok(()),
    }
}

fn words(given: Option<&[String]>, allowed: &[&str], at: &At) -> Result<(), InvalidConfig> {
    for (index, word) in given.unwrap_or_default().iter().enumerate() {
        if !allowed.contains(&word.as_str()) {
            return at.index(index).one_of(allowed);
        }
    }
    Ok(())
}

fn http_options(options: &HttpOptions, at: &At) -> Result<(), InvalidConfig> {
    for (name, seconds) in [
        ("idle_timeout", options.idle_timeout),
        ("headers_read_timeout", options.headers_read_timeout),
    ] {
        if let Some(seconds) = seconds {
            at.field(name)
                .within::<u32>(seconds, 0, i64::from(u32::MAX))?;
        }
    }
    let response = options.response.as_ref();
    let headers = response.and_then(|response| response.headers.as_ref());
    for (name, value) in headers.into_iter().flatten() {
        let holds = match value {
            Value::String(_) | Value::Bool(false) => true,
            Value::Array(items) => items.iter().all(Value::is_string),
            _ => false,
        };
        if !holds {
            let at = at.field("response").field("headers").field(name);
            return at.refuse("must be a string, an array of strings, or false");
        }
    }
    for (index, cache) in options.replay_cache.iter().flatten().enumerate() {
        let at = at.field("replay_cache").index(index);
        if !cache
            .path_prefix
            .as_deref()
            .is_some_and(|path| path.starts_with('/'))
        {
            return at.field("path_prefix").refuse("must begin with /");
        }
        at.field("ttl_seconds").within::<i64>(
            cache.ttl_seconds.unwrap_or(0),
            10,
            i64::from(u32::MAX),
        )?;
        match cache.cache_type.as_deref() {
            Some("cookie" | "header") => {}
            _ => return at.field("type").one_of(&["cookie", "header"]),
        }
        if cache.name.as_deref().unwrap_or_default().is_empty() {
            return at.field("name").refuse("is required");
        }
    }
    Ok(())
}

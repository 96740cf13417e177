use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_machine::{
    Alpn, Autostop, CheckSpec, Concurrency, ConcurrencyKind, Handler, HttpOptions, PortSpec,
    Protocol, ProxyProtoVersion, ReplayCacheKey, ReplayCacheRule, ServiceSpec, StaticSpec,
    TlsOptions, TlsVersion,
};
use serde_json::Value;

use super::field::{At, InvalidConfig, absent_if_empty};
use super::health;
use crate::config;
use crate::config::{Port, Service, ServiceConcurrency, Static};

/// Mappings a machine may have: <https://fly.io/docs/reference/configuration/#the-statics-sections>.
const STATICS_MAX: usize = 10;
/// Bytes of a protocol's name: RFC 7301, section 3.1.
const ALPN_MAX: usize = 255;
const DEFAULT_SOFT_LIMIT: u32 = 20;

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
    let ports = service.ports.iter().flatten().enumerate();
    Ok(ServiceSpec {
        protocol,
        internal_port,
        ports: ports
            .map(|(index, port)| self::port(port, protocol, &at.field("ports").index(index)))
            .collect::<Result<_, _>>()?,
        concurrency: concurrency(service.concurrency.as_ref(), &at.field("concurrency"))?,
        autostart: service.autostart.unwrap_or(true),
        autostop: match service.autostop {
            None | Some(config::Autostop::Off) => Autostop::Off,
            Some(config::Autostop::Stop) => Autostop::Stop,
            Some(config::Autostop::Suspend) => Autostop::Suspend,
        },
        min_machines_running: at.field("min_machines_running").within(
            service.min_machines_running.unwrap_or(0),
            0,
            1_000_000,
        )?,
        checks: checks(service, internal_port, &at.field("checks"))?,
    })
}

fn checks(service: &Service, internal_port: u16, at: &At) -> Result<Vec<CheckSpec>, InvalidConfig> {
    let checks = service.checks.iter().flatten().enumerate();
    checks
        .map(|(index, check)| {
            let at = at.index(index);
            if check.kind.is_some() {
                return at.field("kind").refuse("belongs to config.checks only");
            }
            let port = match check.port {
                Some(port) => at.field("port").port(Some(port))?,
                None => internal_port,
            };
            health::check(check, port, &at)
        })
        .collect()
}

fn concurrency(
    concurrency: Option<&ServiceConcurrency>,
    at: &At,
) -> Result<Concurrency, InvalidConfig> {
    let Some(given) = concurrency else {
        return Ok(Concurrency::default());
    };
    at.field("type")
        .word(given.limit_type.as_ref(), &["connections", "requests"])?;
    let limit = |name: &str, value: Option<i64>| {
        at.field(name)
            .within::<u32>(value.unwrap_or(0), 0, 1_000_000)
    };
    let soft = limit("soft_limit", given.soft_limit)?;
    let hard = limit("hard_limit", given.hard_limit)?;
    if hard != 0 && soft > hard {
        return at.field("soft_limit").refuse("must not exceed hard_limit");
    }
    Ok(Concurrency {
        kind: match given.limit_type.as_deref() {
            Some("requests") => ConcurrencyKind::Requests,
            _ => ConcurrencyKind::Connections,
        },
        // Go clients leave zero out, so it means that the limit was not given.
        soft: match (soft, hard) {
            (0, 0) => DEFAULT_SOFT_LIMIT,
            (0, hard) => hard.min(DEFAULT_SOFT_LIMIT),
            (soft, _) => soft,
        },
        hard: (hard != 0).then_some(hard),
    })
}

fn port(port: &Port, protocol: Protocol, at: &At) -> Result<PortSpec, InvalidConfig> {
    let (first, last) = match (port.port, port.start_port, port.end_port) {
        (Some(number), None, None) => {
            let number = at.field("port").port(Some(number))?;
            (number, number)
        }
        (None, Some(start), Some(end)) => {
            let first = at.field("start_port").port(Some(start))?;
            let last = at.field("end_port").port(Some(end))?;
            if first > last {
                return at.field("end_port").refuse("must not be below start_port");
            }
            (first, last)
        }
        _ => return at.refuse("must have either port, or start_port and end_port"),
    };
    let handlers = each(
        port.handlers.as_deref(),
        &[
            ("http", Handler::Http),
            ("tls", Handler::Tls),
            ("pg_tls", Handler::PgTls),
            ("proxy_proto", Handler::ProxyProto),
            ("edge_http", Handler::EdgeHttp),
        ],
        &at.field("handlers"),
    )?;
    if protocol == Protocol::Udp && !handlers.is_empty() {
        return at.field("handlers").refuse("must be empty for udp");
    }
    let force_https = port.force_https.unwrap_or(false);
    if force_https && !handlers.contains(&Handler::Http) {
        return at
            .field("force_https")
            .refuse("needs \"http\" among the handlers");
    }
    let proxy = port.proxy_proto_options.as_ref();
    let version = proxy.and_then(|options| options.version.as_ref());
    at.field("proxy_proto_options")
        .field("version")
        .word(version, &["v1", "v2"])?;
    Ok(PortSpec {
        first,
        last,
        handlers,
        force_https,
        tls: tls_options(port.tls_options.as_ref(), &at.field("tls_options"))?,
        http: http_options(port.http_options.as_ref(), &at.field("http_options"))?,
        proxy_proto: match version.map(String::as_str) {
            Some("v2") => ProxyProtoVersion::V2,
            _ => ProxyProtoVersion::V1,
        },
    })
}

/// The meaning of each word of a list.
fn each<T: Copy>(
    given: Option<&[String]>,
    meanings: &[(&str, T)],
    at: &At,
) -> Result<Vec<T>, InvalidConfig> {
    let given = given.unwrap_or_default().iter().enumerate();
    given
        .map(|(index, word)| {
            let known = meanings.iter().find(|(name, _)| name == word);
            match known {
                Some((_, meaning)) => Ok(*meaning),
                None => {
                    let names: Vec<&str> = meanings.iter().map(|(name, _)| *name).collect();
                    at.index(index).one_of(&names)
                }
            }
        })
        .collect()
}

fn alpn(given: Option<&[String]>, at: &At) -> Result<Vec<Alpn>, InvalidConfig> {
    let given = given.unwrap_or_default().iter().enumerate();
    given
        .map(|(index, name)| match name.as_str() {
            "h2" => Ok(Alpn::H2),
            "http/1.1" => Ok(Alpn::Http11),
            other if (1..=ALPN_MAX).contains(&other.len()) => Ok(Alpn::Other(other.to_owned())),
            _ => at
                .index(index)
                .refuse(format!("must have 1 to {ALPN_MAX} bytes")),
        })
        .collect()
}

fn tls_options(given: Option<&config::TlsOptions>, at: &At) -> Result<TlsOptions, InvalidConfig> {
    let Some(given) = given else {
        return Ok(TlsOptions::default());
    };
    Ok(TlsOptions {
        alpn: alpn(given.alpn.as_deref(), &at.field("alpn"))?,
        versions: each(
            given.versions.as_deref(),
            &[
                ("TLSv1.2", TlsVersion::Tls12),
                ("TLSv1.3", TlsVersion::Tls13),
            ],
            &at.field("versions"),
        )?,
        default_self_signed: given.default_self_signed.unwrap_or(false),
    })
}

fn http_options(
    given: Option<&config::HttpOptions>,
    at: &At,
) -> Result<HttpOptions, InvalidConfig> {
    let Some(given) = given else {
        return Ok(HttpOptions::default());
    };
    let seconds = |name: &str, value: Option<i64>| {
        let Some(value) = value.filter(|value| *value != 0) else {
            return Ok(None);
        };
        let seconds = at.field(name).within(value, 0, i64::from(u32::MAX))?;
        Ok::<_, InvalidConfig>(Some(Duration::from_secs(seconds)))
    };
    let response = given.response.as_ref();
    let caches = given.replay_cache.iter().flatten().enumerate();
    Ok(HttpOptions {
        compress: given.compress.unwrap_or(false),
        response_headers: response_headers(response, &at.field("response").field("headers"))?,
        pristine: response
            .and_then(|response| response.pristine)
            .unwrap_or(false),
        h2_backend: given.h2_backend.unwrap_or(false),
        idle_timeout: seconds("idle_timeout", given.idle_timeout)?,
        headers_read_timeout: seconds("headers_read_timeout", given.headers_read_timeout)?,
        replay_cache: caches
            .map(|(index, cache)| replay_cache(cache, &at.field("replay_cache").index(index)))
            .collect::<Result<_, _>>()?,
    })
}

fn response_headers(
    response: Option<&config::HttpResponseOptions>,
    at: &At,
) -> Result<BTreeMap<String, Option<Vec<String>>>, InvalidConfig> {
    let headers = response.and_then(|response| response.headers.as_ref());
    let mut read = BTreeMap::new();
    for (name, value) in headers.into_iter().flatten() {
        let at = at.field(name);
        let texts = match value {
            Value::Bool(false) => None,
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) if items.iter().all(Value::is_string) => Some(
                items
                    .iter()
                    .filter_map(|item| item.as_str().map(str::to_owned))
                    .collect(),
            ),
            _ => return at.refuse("must be a string, an array of strings, or false"),
        };
        health::header_name(name, &at)?;
        for text in texts.iter().flatten() {
            health::header_value(text, &at)?;
        }
        read.insert(name.clone(), texts);
    }
    Ok(read)
}

fn replay_cache(given: &config::ReplayCache, at: &At) -> Result<ReplayCacheRule, InvalidConfig> {
    let Some(path_prefix) = given
        .path_prefix
        .clone()
        .filter(|path| path.starts_with('/'))
    else {
        return at.field("path_prefix").refuse("must begin with /");
    };
    let ttl =
        at.field("ttl_seconds")
            .within(given.ttl_seconds.unwrap_or(0), 10, i64::from(u32::MAX))?;
    let name = given.name.clone().unwrap_or_default();
    let key = match given.cache_type.as_deref() {
        Some("cookie") => ReplayCacheKey::Cookie(name.clone()),
        Some("header") => ReplayCacheKey::Header(name.clone()),
        _ => return at.field("type").one_of(&["cookie", "header"]),
    };
    if name.is_empty() {
        return at.field("name").refuse("is required");
    }
    Ok(ReplayCacheRule {
        path_prefix,
        ttl: Duration::from_secs(ttl),
        key,
        allow_bypass: given.allow_bypass.unwrap_or(false),
    })
}

pub(super) fn statics(given: Option<&[Static]>, at: &At) -> Result<Vec<StaticSpec>, InvalidConfig> {
    let given = given.unwrap_or_default();
    if given.len() > STATICS_MAX {
        return at.refuse(format!("must be at most {STATICS_MAX}"));
    }
    let mappings = given.iter().enumerate();
    mappings
        .map(|(index, mapping)| {
            let at = at.index(index);
            let Some(guest_path) = absent_if_empty(mapping.guest_path.as_ref()) else {
                return at.field("guest_path").refuse("is required");
            };
            let Some(url_prefix) = mapping
                .url_prefix
                .clone()
                .filter(|prefix| prefix.starts_with('/'))
            else {
                return at.field("url_prefix").refuse("must begin with /");
            };
            Ok(StaticSpec {
                guest_path: guest_path.clone(),
                url_prefix,
                bucket: absent_if_empty(mapping.tigris_bucket.as_ref()).cloned(),
                index_document: absent_if_empty(mapping.index_document.as_ref()).cloned(),
            })
        })
        .collect()
}

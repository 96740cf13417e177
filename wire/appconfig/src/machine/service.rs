use std::collections::BTreeMap;

use mayfly_wire::{Check, HttpHeader};

use crate::config::{HttpCheck, Service, TcpCheck, TopLevelCheck};

/// Port of a service that names none.
pub(crate) const DEFAULT_PORT: i64 = 8080;

pub(super) fn machine_service(service: &Service) -> mayfly_wire::Service {
    let tcp = service.tcp_checks.iter().flatten().map(tcp_check);
    let http = service.http_checks.iter().flatten().map(http_check);
    let checks: Vec<Check> = tcp.chain(http).collect();
    mayfly_wire::Service {
        protocol: Some(service.protocol.clone().unwrap_or_else(|| "tcp".to_owned())),
        internal_port: Some(service.internal_port.unwrap_or(DEFAULT_PORT)),
        autostop: service.auto_stop_machines.map(Into::into),
        autostart: service.auto_start_machines,
        min_machines_running: service.min_machines_running,
        ports: service.ports.clone(),
        checks: Some(checks).filter(|checks| !checks.is_empty()),
        concurrency: service.concurrency.clone(),
        ..mayfly_wire::Service::default()
    }
}

fn tcp_check(check: &TcpCheck) -> Check {
    Check {
        check_type: Some("tcp".to_owned()),
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
        ..Check::default()
    }
}

fn http_check(check: &HttpCheck) -> Check {
    Check {
        check_type: Some("http".to_owned()),
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
        method: check.method.as_ref().map(|method| method.to_uppercase()),
        path: check.path.clone(),
        protocol: check.protocol.clone(),
        tls_skip_verify: check.tls_skip_verify,
        tls_server_name: check.tls_server_name.clone(),
        headers: headers(check.headers.as_ref()),
        ..Check::default()
    }
}

/// `port` is what a check without one is for.
pub(super) fn top_level_check(check: &TopLevelCheck, port: Option<i64>) -> Check {
    Check {
        port: check.port.or(port),
        check_type: check.check_type.clone(),
        kind: check.kind.clone(),
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
        method: check.method.as_ref().map(|method| method.to_uppercase()),
        path: check.path.clone(),
        protocol: check.protocol.clone(),
        tls_skip_verify: check.tls_skip_verify,
        tls_server_name: check.tls_server_name.clone(),
        headers: headers(check.headers.as_ref()),
    }
}

fn headers(headers: Option<&BTreeMap<String, String>>) -> Option<Vec<HttpHeader>> {
    let headers: Vec<HttpHeader> = headers
        .into_iter()
        .flatten()
        .map(|(name, value)| HttpHeader {
            name: Some(name.clone()),
            values: Some(vec![value.clone()]),
        })
        .collect();
    Some(headers).filter(|headers| !headers.is_empty())
}

use super::{Facts, Found};
use crate::config::{AppConfig, Service};
use crate::machine::DEFAULT_PORT;

fn port(service: &Service) -> i64 {
    service.internal_port.unwrap_or(DEFAULT_PORT)
}

/// The group whose machines answer a service.
fn named(service: &Service, config: &AppConfig) -> String {
    let mut processes = service.processes.iter().flatten();
    processes
        .next()
        .map_or_else(|| config.default_group().to_owned(), Clone::clone)
}

pub(super) fn port_mismatch(config: &AppConfig, facts: &Facts, found: &mut Found) {
    let services = config.all_services();
    let env = config.env.as_ref().and_then(|env| env.get("PORT"));
    let env: Option<i64> = env.and_then(|port| port.trim().parse().ok());
    // With several services PORT can be any one's.
    if let Some(env) = env
        && !services.is_empty()
        && services.iter().all(|(_, service)| port(service) != env)
    {
        let (path, service) = &services[0];
        let internal = port(service);
        found.add(
            format!("{path}.internal_port"),
            format!("is {internal}, but env.PORT tells the app to listen on {env}: requests would find nobody"),
            format!("Make both the same: internal_port = {env}, or PORT = \"{internal}\"."),
        );
        return;
    }
    if env.is_none()
        && let [exposed] = facts.exposed_ports[..]
        && let [(path, service)] = &services[..]
        && port(service) != exposed
    {
        let internal = port(service);
        found.add(
            format!("{path}.internal_port"),
            format!("is {internal}, but the Dockerfile exposes {exposed}"),
            format!("Use internal_port = {exposed}, or make the app listen on {internal} (PORT = \"{internal}\" under [env])."),
        );
    }
}

pub(super) fn binds_localhost(config: &AppConfig, _: &Facts, found: &mut Found) {
    for (name, value) in config.env() {
        let is_address = matches!(
            name,
            "HOST" | "HOSTNAME" | "BIND" | "BIND_ADDRESS" | "LISTEN_ADDRESS" | "ADDRESS"
        );
        let value = value.trim();
        if is_address && (value == "localhost" || value.starts_with("127.") || value == "::1") {
            found.add(
                format!("env.{name}"),
                format!("is {value}: the app would hear itself only, requests come from outside of the machine"),
                "Use 0.0.0.0 or ::.",
            );
        }
    }
}

/// Parts of a path that promise a look at what is behind the app.
const DEEP: [&str; 14] = [
    "db",
    "database",
    "postgres",
    "postgresql",
    "mysql",
    "redis",
    "sql",
    "deep",
    "full",
    "ready",
    "readiness",
    "readyz",
    "dependencies",
    "deps",
];

pub(super) fn check_hits_database(config: &AppConfig, _: &Facts, found: &mut Found) {
    let services = config
        .all_services()
        .into_iter()
        .flat_map(|(path, service)| {
            let list = if path == "http_service" {
                "checks"
            } else {
                "http_checks"
            };
            let checks = service
                .http_checks
                .unwrap_or_default()
                .into_iter()
                .enumerate();
            checks
                .map(move |(index, check)| (format!("{path}.{list}[{index}].path"), check.path))
                .collect::<Vec<_>>()
        });
    for (at, path) in services {
        let path = path.unwrap_or_default().to_lowercase();
        let mut words = path.split(['/', '-', '_', '.', '?', '&', '=']);
        if let Some(word) = words.find(|word| DEEP.contains(word)) {
            found.add(
                at,
                format!(
                    "looks like a check of what is behind the app (\"{word}\"): when the database is slow, all machines fail at \
                     once and the whole app is taken out of routing"
                ),
                "Check a path that only says that this machine can answer, and watch the database by a check under [checks].",
            );
        }
    }
}

pub(super) fn no_checks(config: &AppConfig, _: &Facts, found: &mut Found) {
    let strategy = config
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.strategy.as_deref());
    let needs = matches!(strategy, Some("bluegreen" | "canary"));
    let none = config
        .all_services()
        .iter()
        .all(|(_, service)| !service.has_checks())
        && config.checks.iter().flatten().next().is_none();
    if needs && none && !config.all_services().is_empty() {
        let strategy = strategy.unwrap_or_default();
        found.add(
            "deploy.strategy",
            format!("is {strategy}, but no check says when a new machine is ready: it gets requests as soon as its program runs"),
            "Add [[http_service.checks]] with a path that answers 200.",
        );
    }
}

pub(super) fn no_concurrency(config: &AppConfig, _: &Facts, found: &mut Found) {
    for (path, service) in config.all_services() {
        let is_http = service.ports.iter().flatten().any(|port| {
            port.handlers
                .iter()
                .flatten()
                .any(|handler| handler == "http")
        });
        if is_http && service.auto_start_machines == Some(true) && service.concurrency.is_none() {
            found.add(
                format!("{path}.concurrency"),
                "is not set: machines are started and preferred by the default of 20 connections, whatever the app can take",
                "Measure what one machine takes, then set type = \"requests\" and soft_limit under concurrency.",
            );
        }
    }
}

pub(super) fn no_force_https(config: &AppConfig, _: &Facts, found: &mut Found) {
    let Some(service) = &config.http_service else {
        return;
    };
    if service.force_https == Some(false) {
        let group = named(&service.as_service(), config);
        found.add(
            "http_service.force_https",
            format!("is false: browsers reach group \"{group}\" without encryption and stay there"),
            "Set force_https = true.",
        );
    }
}

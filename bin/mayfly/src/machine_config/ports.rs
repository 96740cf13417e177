//! `--port 443:8080/tcp:http:tls`: services from the ports the world sees.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::MachineConfig;

/// One `--port`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PortSpec {
    /// First and last external port; the same for a single one.
    external: (u16, u16),
    internal: u16,
    protocol: String,
    handlers: Vec<String>,
}

impl PortSpec {
    /// `port[:machinePort]` or `start-end:machinePort`, then `/protocol[:handler...]`.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (ports, rest) = text.split_once('/').unwrap_or((text, "tcp"));
        let mut rest = rest.split(':');
        let protocol = rest.next().unwrap_or_default();
        if !matches!(protocol, "tcp" | "udp") {
            bail!("the protocol is tcp or udp, not `{protocol}`");
        }
        let (external, internal) = match ports.split_once(':') {
            Some((external, internal)) => (external, Some(port(internal)?)),
            None => (ports, None),
        };
        let external = match external.split_once('-') {
            Some((start, end)) => (port(start)?, port(end)?),
            None => (port(external)?, port(external)?),
        };
        if external.0 > external.1 {
            bail!("the range ends before it starts");
        }
        Ok(Self {
            external,
            internal: internal.unwrap_or(external.0),
            protocol: protocol.to_owned(),
            handlers: rest.map(str::to_owned).collect(),
        })
    }

    fn is_removal(&self) -> bool {
        self.handlers == ["-"]
    }

    fn matches(&self, service: &Value) -> bool {
        service.get("internal_port") == Some(&Value::from(self.internal))
            && service.get("protocol") == Some(&Value::from(self.protocol.as_str()))
    }

    fn port(&self) -> Value {
        let mut port = match self.external {
            (start, end) if start == end => json!({ "port": start }),
            (start, end) => json!({ "start_port": start, "end_port": end }),
        };
        if !self.handlers.is_empty() {
            port["handlers"] = Value::from(self.handlers.clone());
        }
        port
    }

    fn is_same_port(&self, port: &Value) -> bool {
        let first = port.get("port").or_else(|| port.get("start_port"));
        first == Some(&Value::from(self.external.0))
    }
}

fn port(text: &str) -> anyhow::Result<u16> {
    let port: Option<u16> = text.trim().parse().ok();
    port.filter(|port| *port > 0)
        .with_context(|| format!("`{text}` is not a port from 1 to 65535"))
}

/// Adds, changes and removes ports; a service without ports goes away.
pub(super) fn apply(config: &mut MachineConfig, specs: &[String]) -> anyhow::Result<()> {
    let mut services = match config.remove("services") {
        Some(Value::Array(services)) => services,
        _ => Vec::new(),
    };
    for text in specs {
        let spec = PortSpec::parse(text).with_context(|| format!("--port {text}"))?;
        let at = match services.iter().position(|service| spec.matches(service)) {
            Some(at) => at,
            None => {
                services.push(json!({
                    "protocol": spec.protocol,
                    "internal_port": spec.internal,
                    "ports": [],
                }));
                services.len() - 1
            }
        };
        let ports = &mut services[at]["ports"];
        if spec.is_removal() {
            *ports = json!([]);
            continue;
        }
        let mut listed = ports.as_array().cloned().unwrap_or_default();
        match listed.iter_mut().find(|port| spec.is_same_port(port)) {
            Some(port) => {
                port["handlers"] = Value::from(spec.handlers.clone());
                if spec.external.0 != spec.external.1 {
                    port["end_port"] = Value::from(spec.external.1);
                }
            }
            None => listed.push(spec.port()),
        }
        *ports = Value::from(listed);
    }
    services.retain(|service| {
        let ports = service.get("ports").and_then(Value::as_array);
        ports.is_some_and(|ports| !ports.is_empty())
    });
    if !services.is_empty() {
        config.insert("services".to_owned(), Value::from(services));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(services: Value, specs: &[&str]) -> Value {
        let mut config = MachineConfig::new();
        config.insert("services".to_owned(), services);
        let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
        apply(&mut config, &specs).unwrap();
        config.remove("services").unwrap_or_default()
    }

    #[test]
    fn specs_become_services() {
        let tcp = |internal: u16, ports: Value| json!({ "protocol": "tcp", "internal_port": internal, "ports": ports });
        for (specs, services) in [
            (vec!["80"], json!([tcp(80, json!([{ "port": 80 }]))])),
            (
                vec!["80:8080/tcp:http", "443:8080/tcp:http:tls"],
                json!([tcp(
                    8080,
                    json!([{ "port": 80, "handlers": ["http"] }, { "port": 443, "handlers": ["http", "tls"] }])
                )]),
            ),
            (
                vec!["5000-5010:5000/udp"],
                json!([{ "protocol": "udp", "internal_port": 5000,
                    "ports": [{ "start_port": 5000, "end_port": 5010 }] }]),
            ),
        ] {
            assert_eq!(applied(json!([]), &specs), services, "{specs:?}");
        }
    }

    #[test]
    fn existing_services_keep_what_no_flag_names() {
        let before = json!([{ "protocol": "tcp", "internal_port": 8080, "concurrency": { "type": "requests" },
            "ports": [{ "port": 80, "handlers": ["http"], "force_https": true }] }]);
        let after = applied(before.clone(), &["80:8080/tcp:http:tls"]);
        assert_eq!(
            after,
            json!([{ "protocol": "tcp", "internal_port": 8080, "concurrency": { "type": "requests" },
                "ports": [{ "port": 80, "handlers": ["http", "tls"], "force_https": true }] }])
        );
        assert_eq!(applied(before, &["80:8080/tcp:-"]), Value::Null);
    }

    #[test]
    fn wrong_specs_are_refused() {
        for wrong in [
            "",
            "http",
            "0",
            "70000",
            "80/sctp",
            "80:x/tcp",
            "90-80:80/tcp",
            "1:2:3",
        ] {
            assert!(PortSpec::parse(wrong).is_err(), "{wrong}");
        }
    }
}

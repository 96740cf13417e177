use mayfly_wire::{HttpOptions, Port, ServiceConcurrency, TlsOptions};
use serde::{Deserialize, Serialize};

use super::{HttpCheck, MachineCheck, TcpCheck};
use mayfly_wire::optional_fields;

optional_fields! {
    /// A service on ports 80 and 443, in short.
    pub struct HttpService {
        pub internal_port: i64,
        pub force_https: bool,
        pub auto_stop_machines: AutoStop,
        pub auto_start_machines: bool,
        pub min_machines_running: i64,
        pub processes: Vec<String>,
        pub concurrency: ServiceConcurrency,
        pub tls_options: TlsOptions,
        pub http_options: HttpOptions,
        pub checks: Vec<HttpCheck>,
        pub tcp_checks: Vec<TcpCheck>,
        pub machine_checks: Vec<MachineCheck>,
    }

    pub struct Service {
        pub protocol: String,
        pub internal_port: i64,
        pub auto_stop_machines: AutoStop,
        pub auto_start_machines: bool,
        pub min_machines_running: i64,
        pub ports: Vec<Port>,
        pub concurrency: ServiceConcurrency,
        pub tcp_checks: Vec<TcpCheck>,
        pub http_checks: Vec<HttpCheck>,
        pub machine_checks: Vec<MachineCheck>,
        pub processes: Vec<String>,
    }
}

/// What happens to machines without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AutoStop {
    Off,
    Stop,
    Suspend,
}

impl From<AutoStop> for mayfly_wire::Autostop {
    fn from(auto_stop: AutoStop) -> Self {
        match auto_stop {
            AutoStop::Off => mayfly_wire::Autostop::Off,
            AutoStop::Stop => mayfly_wire::Autostop::Stop,
            AutoStop::Suspend => mayfly_wire::Autostop::Suspend,
        }
    }
}

impl From<mayfly_wire::Autostop> for AutoStop {
    fn from(auto_stop: mayfly_wire::Autostop) -> Self {
        match auto_stop {
            mayfly_wire::Autostop::Off => AutoStop::Off,
            mayfly_wire::Autostop::Stop => AutoStop::Stop,
            mayfly_wire::Autostop::Suspend => AutoStop::Suspend,
        }
    }
}

impl HttpService {
    /// The same service in the long form.
    pub fn as_service(&self) -> Service {
        let port = |number: i64, handlers: &[&str]| Port {
            port: Some(number),
            handlers: Some(handlers.iter().map(|&handler| handler.to_owned()).collect()),
            http_options: self.http_options.clone(),
            ..Port::default()
        };
        Service {
            protocol: Some("tcp".to_owned()),
            internal_port: self.internal_port,
            auto_stop_machines: self.auto_stop_machines,
            auto_start_machines: self.auto_start_machines,
            min_machines_running: self.min_machines_running,
            ports: Some(vec![
                Port {
                    force_https: self.force_https,
                    ..port(80, &["http"])
                },
                Port {
                    tls_options: self.tls_options.clone(),
                    ..port(443, &["http", "tls"])
                },
            ]),
            concurrency: self.concurrency.clone(),
            tcp_checks: self.tcp_checks.clone(),
            http_checks: self.checks.clone(),
            machine_checks: self.machine_checks.clone(),
            processes: self.processes.clone(),
        }
    }
}

impl Service {
    /// Whether the service is the short form written out: the way back to it.
    pub(crate) fn as_http_service(&self) -> Option<HttpService> {
        let [plain, tls] = self.ports.as_deref()? else {
            return None;
        };
        let short = HttpService {
            internal_port: self.internal_port,
            force_https: plain.force_https,
            auto_stop_machines: self.auto_stop_machines,
            auto_start_machines: self.auto_start_machines,
            min_machines_running: self.min_machines_running,
            processes: self.processes.clone(),
            concurrency: self.concurrency.clone(),
            tls_options: tls.tls_options.clone(),
            http_options: tls.http_options.clone(),
            checks: self.http_checks.clone(),
            tcp_checks: self.tcp_checks.clone(),
            machine_checks: self.machine_checks.clone(),
        };
        (short.as_service() == *self).then_some(short)
    }

    pub(crate) fn has_checks(&self) -> bool {
        !(self.tcp_checks.iter().flatten().count() == 0
            && self.http_checks.iter().flatten().count() == 0)
    }
}

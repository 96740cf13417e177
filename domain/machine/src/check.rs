//! How a machine's checks stand.

use serde::{Deserialize, Serialize};

use crate::{CheckProbe, CheckSpec, MachineSpec};

/// What is known of a check: the words clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    Passing,
    /// Not probed yet, or not listening yet right after the start.
    Warning,
    Critical,
}

impl CheckStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Passing => "passing",
            CheckStatus::Warning => "warning",
            CheckStatus::Critical => "critical",
        }
    }
}

/// A check went from one status to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTurn {
    /// `servicecheck-<nn>-<http|tcp>-<port>` for checks of services, the given name for others.
    pub name: String,
    pub from: CheckStatus,
    pub to: CheckStatus,
    /// What the probe that changed it saw.
    pub output: String,
}

/// A check of a machine as clients call it.
pub struct NamedCheck<'a> {
    pub name: String,
    /// The internal port of the service it belongs to.
    pub service_port: Option<u16>,
    pub spec: &'a CheckSpec,
}

/// All checks of a machine: those of its services, counted through, then the named ones.
pub fn named_checks(spec: &MachineSpec) -> impl Iterator<Item = NamedCheck<'_>> {
    let of_services = spec.services.iter().flat_map(|service| {
        let port = service.internal_port;
        service.checks.iter().map(move |check| (port, check))
    });
    let of_services = of_services.enumerate().map(|(number, (port, check))| {
        let kind = match check.probe {
            CheckProbe::Tcp => "tcp",
            CheckProbe::Http { .. } => "http",
        };
        NamedCheck {
            name: format!("servicecheck-{number:02}-{kind}-{}", check.port),
            service_port: Some(port),
            spec: check,
        }
    });
    let others = spec.checks.iter().map(|(name, check)| NamedCheck {
        name: name.clone(),
        service_port: None,
        spec: check,
    });
    of_services.chain(others)
}

use mayfly_control_store::Machine;
use mayfly_host_api::{Catalog, CatalogEntry, CheckStatus};
use mayfly_machine::named_checks;
use mayfly_types::HostId;

use crate::hosts::Hosts;

/// How the checks of all machines stand at one moment, as their hosts publish it.
pub(crate) struct Checks(Vec<(HostId, Catalog)>);

impl Checks {
    pub(crate) fn now(hosts: &Hosts) -> Self {
        let hosts = hosts.all().into_iter();
        Checks(
            hosts
                .map(|host| (host.id, host.api.catalog().borrow().clone()))
                .collect(),
        )
    }

    /// The checks of a machine. Those of another version than the wanted one say nothing about it: whoever has just
    /// updated the machine must not take them for the answer.
    pub(crate) fn of(&self, machine: &Machine) -> Vec<mayfly_wire::CheckStatus> {
        let mut named = named_checks(&machine.spec).peekable();
        if named.peek().is_none() || machine.destroyed_at.is_some() {
            return Vec::new();
        }
        if let Some(entry) = self.entry(machine) {
            let reports = entry.checks.iter();
            return reports
                .map(|report| mayfly_wire::CheckStatus {
                    name: report.name.clone(),
                    status: report.status.as_str().to_owned(),
                    output: report.output.clone(),
                    updated_at: report.updated_at,
                })
                .collect();
        }
        named
            .map(|check| mayfly_wire::CheckStatus {
                name: check.name,
                status: CheckStatus::Warning.as_str().to_owned(),
                output: "waiting for its host".to_owned(),
                updated_at: machine.updated_at,
            })
            .collect()
    }

    fn entry(&self, machine: &Machine) -> Option<&CatalogEntry> {
        let (_, catalog) = self.0.iter().find(|(host, _)| *host == machine.host_id)?;
        let found = catalog.binary_search_by_key(&machine.id, |entry| entry.machine_id);
        let entry = catalog.get(found.ok()?)?;
        (entry.instance_id == machine.instance_id).then_some(entry)
    }
}

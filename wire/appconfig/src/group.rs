//! Process groups, and which sections are whose.

use crate::config::{AppConfig, Vm};

/// The group of an app that names none.
pub const DEFAULT_GROUP: &str = "app";

impl AppConfig {
    /// The names of the process groups, in alphabetical order.
    pub fn groups(&self) -> Vec<&str> {
        let names: Vec<&str> = self
            .processes
            .iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() {
            vec![DEFAULT_GROUP]
        } else {
            names
        }
    }

    /// The group that sections without `processes` are for: `app`, else the first by name.
    pub fn default_group(&self) -> &str {
        let groups = self.groups();
        if groups.contains(&DEFAULT_GROUP) {
            DEFAULT_GROUP
        } else {
            groups[0]
        }
    }

    /// Whether a section with these `processes` is for the group.
    pub(crate) fn is_for(&self, processes: Option<&Vec<String>>, group: &str) -> bool {
        match processes.filter(|processes| !processes.is_empty()) {
            None => group == self.default_group(),
            Some(processes) => processes.iter().any(|name| name == group),
        }
    }

    /// The size of the group's machines; one that names the group wins over one for all. `None` leaves machines as
    /// they are.
    pub fn vm(&self, group: &str) -> Option<&Vm> {
        let named = |vm: &&Vm| vm.processes.iter().flatten().any(|name| name == group);
        let for_all = |vm: &&Vm| vm.processes.iter().flatten().count() == 0;
        let vms = || self.vm.iter().flatten();
        vms().rfind(named).or_else(|| vms().rfind(for_all))
    }

    /// Whether the group's machines take requests.
    pub fn has_services(&self, group: &str) -> bool {
        self.all_services()
            .iter()
            .any(|(_, service)| self.is_for(service.processes.as_ref(), group))
    }

    /// Whether any group has services.
    pub fn serves(&self) -> bool {
        let mut groups = self.groups().into_iter();
        groups.any(|group| self.has_services(group))
    }

    /// The volume of the group's machines.
    pub fn mount(&self, group: &str) -> Option<&crate::config::Mount> {
        self.mounts
            .iter()
            .flatten()
            .find(|mount| self.is_for(mount.processes.as_ref(), group))
    }

    /// Tests every new machine of the group has to pass: those of its services, then those of the app.
    pub fn machine_checks(&self, group: &str) -> Vec<crate::config::MachineCheck> {
        let services = self.all_services();
        let of_services = services
            .iter()
            .filter(|(_, service)| self.is_for(service.processes.as_ref(), group))
            .flat_map(|(_, service)| service.machine_checks.iter().flatten());
        of_services
            .chain(self.machine_checks.iter().flatten())
            .cloned()
            .collect()
    }
}

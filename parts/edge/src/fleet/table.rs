use std::net::IpAddr;
use std::sync::Arc;

use mayfly_types::{AppName, MachineId};

use super::app::App;
use super::backend::Backend;
use super::key::Key;
use super::sharded::Sharded;

/// All apps at one moment, by every name they have. A changed copy shares what did not change.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// What app names stand under, with a dot in front.
    pub(super) suffix: Arc<str>,
    pub(super) apps: Sharded<Key, Arc<App>>,
    /// Custom names; one that begins with `*.` stands for one label.
    pub(super) hosts: Sharded<Box<str>, AppName>,
    pub(super) addresses: Sharded<IpAddr, AppName>,
    pub(super) machines: Sharded<MachineId, Arc<Backend>>,
}

impl Table {
    pub(super) fn new(domain: &str) -> Table {
        Table {
            suffix: format!(".{domain}").into(),
            apps: Sharded::default(),
            hosts: Sharded::default(),
            addresses: Sharded::default(),
            machines: Sharded::default(),
        }
    }

    /// The app that `host` names: `<app>.<domain>`, a custom name, or a custom name with a wildcard for the first label.
    /// Lower case, without port.
    pub(crate) fn by_host(&self, host: &str) -> Option<&Arc<App>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(name) = host.strip_suffix(&*self.suffix)
            && let Some(app) = self.by_name(name)
        {
            return Some(app);
        }
        let name = self.hosts.get(host).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            let mut wildcard = String::with_capacity(parent.len() + 2);
            wildcard.push_str("*.");
            wildcard.push_str(parent);
            self.hosts.get(wildcard.as_str())
        })?;
        self.by_name(name.as_str())
    }

    /// The app that an address was given to alone: a dedicated or a private one.
    pub(crate) fn by_address(&self, ip: IpAddr) -> Option<&Arc<App>> {
        self.by_name(self.addresses.get(&ip)?.as_str())
    }

    pub(crate) fn by_name(&self, app: &str) -> Option<&Arc<App>> {
        self.apps.get(app.as_bytes())
    }

    pub(crate) fn by_machine(&self, machine: MachineId) -> Option<(&Arc<App>, Arc<Backend>)> {
        let backend = self.machines.get(&machine)?;
        Some((self.by_name(backend.app.as_str())?, Arc::clone(backend)))
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }
}

//! Machines that exist only in a catalog.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use async_trait::async_trait;
use mayfly_edge::{WakeError, Waker};
use mayfly_host_api::CatalogEntry;
use mayfly_machine::{MachineState, Protocol, ServiceSpec};
use mayfly_types::{AppId, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};

/// Nothing is woken here.
pub(crate) struct Nobody;

#[async_trait]
impl Waker for Nobody {
    async fn start(&self, _: HostId, _: MachineId) -> Result<(), WakeError> {
        Ok(())
    }

    async fn stop(&self, _: HostId, _: MachineId) -> Result<(), WakeError> {
        Ok(())
    }

    async fn suspend(&self, _: HostId, _: MachineId) -> Result<(), WakeError> {
        Ok(())
    }
}

/// What the catalog says of machine number `number`, the only one of an app.
pub(crate) fn entry_of(app: &str, number: usize) -> Result<CatalogEntry> {
    let digits: [u8; 14] = std::array::from_fn(|place| (number >> (4 * place)) as u8);
    Ok(CatalogEntry {
        machine_id: MachineId::from_random(digits),
        instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
        app_name: app.parse()?,
        region: "ams".parse()?,
        ipv4: Ipv4Addr::LOCALHOST,
        private_ip: Ipv6Addr::LOCALHOST,
        state: MachineState::Started,
        cordoned: false,
        services: vec![ServiceSpec::new(Protocol::Tcp, 8080)],
        app_id: AppId::from_random([1; 16]),
        org_id: OrgId::from_random([1; 16]),
        network: NetworkId(1),
        host_id: HostId::from_random([1; 8]),
        statics: Vec::new(),
        metadata: Default::default(),
        in_dns: true,
        primary_region: None,
        checks: Vec::new(),
    })
}

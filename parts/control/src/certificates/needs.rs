use std::net::IpAddr;

use mayfly_control_store::App;
use mayfly_edge_api::Reach;
use mayfly_types::Hostname;
use mayfly_wire::{AcmeChallengeRecord, DnsRequirements, OwnershipRecord};

use crate::cloud::Cloud;

/// What DNS has to say so that a name leads to an app and is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// Addresses that are this app's alone.
    pub(super) dedicated: Vec<IpAddr>,
    /// Addresses of the edge, where the host name decides.
    pub(super) shared: Vec<IpAddr>,
    /// The app's own name.
    pub(super) cname: String,
    pub(super) challenge_name: String,
    /// Where that name may lead once and for all; empty if this cloud shows no proofs.
    pub(super) challenge_target: String,
    pub(super) ownership_name: String,
    pub(super) app_value: String,
    pub(super) org_value: String,
}

impl Needs {
    pub(super) fn of(cloud: &Cloud, app: &App, hostname: &Hostname) -> Needs {
        let directory = cloud.directory.current();
        let entry = directory.apps.iter().find(|entry| entry.app_id == app.id);
        let assigned = entry.map_or(&[][..], |entry| entry.addresses.as_slice());
        let of_reach = |reach: Reach| {
            let addresses = assigned
                .iter()
                .filter(move |address| address.reach == reach);
            addresses.map(|address| address.ip).collect::<Vec<_>>()
        };
        let mut shared = of_reach(Reach::Shared);
        shared.extend(&cloud.settings.certificates.public_addresses);
        shared.sort_unstable();
        shared.dedup();
        Needs {
            dedicated: of_reach(Reach::Dedicated),
            shared,
            cname: cloud.settings.hostname(app.name.as_str()),
            challenge_name: format!("_acme-challenge.{}", hostname.base()),
            challenge_target: match &cloud.settings.certificates.challenge_zone {
                Some(zone) => format!("{}.{zone}", hostname.base()),
                None => String::new(),
            },
            ownership_name: format!("_fly-ownership.{}", hostname.base()),
            app_value: format!("app-{}", app.id),
            org_value: format!("org-{}", app.org_id),
        }
    }

    /// All addresses a name may point at.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.dedicated.iter().chain(&self.shared).copied()
    }

    /// As the API shows them; `values` are what an order waits for under the challenge's name.
    pub(super) fn view(&self, values: Vec<String>) -> DnsRequirements {
        let of_version = |v4: bool| {
            let preferred = self.dedicated.iter().any(|ip| ip.is_ipv4() == v4);
            let from = if preferred {
                &self.dedicated
            } else {
                &self.shared
            };
            let of_version = from.iter().filter(|ip| ip.is_ipv4() == v4);
            of_version.map(ToString::to_string).collect()
        };
        DnsRequirements {
            a: of_version(true),
            aaaa: of_version(false),
            cname: self.cname.clone(),
            acme_challenge: AcmeChallengeRecord {
                name: self.challenge_name.clone(),
                target: self.challenge_target.clone(),
                values,
            },
            ownership: OwnershipRecord {
                name: self.ownership_name.clone(),
                app_value: self.app_value.clone(),
                org_value: self.org_value.clone(),
            },
        }
    }
}

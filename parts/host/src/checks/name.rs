use mayfly_machine::{CheckProbe, CheckSpec, MachineSpec};

/// A check of a machine as clients call it.
pub(super) struct NamedCheck<'a> {
    pub(super) name: String,
    /// The internal port of the service it belongs to.
    pub(super) service_port: Option<u16>,
    pub(super) spec: &'a CheckSpec,
}

/// All checks of a machine: those of its services, counted through, then the named ones.
pub(super) fn named_checks(spec: &MachineSpec) -> impl Iterator<Item = NamedCheck<'_>> {
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

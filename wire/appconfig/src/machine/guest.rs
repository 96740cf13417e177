use mayfly_machine::{CpuKind, GuestSize};
use mayfly_wire::{Guest, RootfsPersist};

use crate::config::Vm;

/// The size a section asks for: its preset, then its memory, then every exact key.
pub(super) fn guest(vm: &Vm) -> Guest {
    let wanted = vm.size.as_deref().filter(|name| !name.is_empty());
    let preset = match (wanted, &vm.gpu_kind) {
        (Some(name), _) => GuestSize::preset(name),
        (None, Some(_)) => GuestSize::preset("performance-8x"),
        (None, None) => None,
    }
    .unwrap_or_default();
    let mut guest = Guest {
        cpu_kind: Some(preset.cpu_kind.as_str().to_owned()),
        cpus: Some(i64::from(preset.cpus)),
        memory_mb: Some(i64::from(preset.memory_mib)),
        ..Guest::default()
    };
    if let Some(kind) = &vm.cpu_kind {
        guest.cpu_kind = Some(kind.clone());
    }
    if let Some(cpus) = vm.cpus {
        guest.cpus = Some(cpus);
    }
    match vm.memory_mib() {
        Some(mib) => guest.memory_mb = Some(mib),
        // More CPUs than the preset has need more memory than it has.
        None if vm.cpus.is_some() || vm.cpu_kind.is_some() => {
            let kind = match guest.cpu_kind.as_deref() {
                Some("performance") => CpuKind::Performance,
                _ => CpuKind::Shared,
            };
            let least = i64::from(kind.memory_rule_mib().0) * guest.cpus.unwrap_or(1);
            guest.memory_mb = guest.memory_mb.map(|mib| mib.max(least));
        }
        None => {}
    }
    guest.max_memory_mb = vm.max_memory_mb;
    guest.gpus = vm.gpus;
    guest.gpu_kind.clone_from(&vm.gpu_kind);
    guest.host_dedication_id.clone_from(&vm.host_dedication_id);
    guest.kernel_args.clone_from(&vm.kernel_args);
    guest.persist_rootfs = vm.persist_rootfs.as_deref().map(|persist| match persist {
        "restart" => RootfsPersist::Restart,
        "always" => RootfsPersist::Always,
        _ => RootfsPersist::Never,
    });
    guest
}

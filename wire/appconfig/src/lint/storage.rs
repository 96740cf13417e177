use super::{Facts, Found};
use crate::config::{AppConfig, AutoStop, Service};

/// A group whose machines have a volume.
struct Stateful {
    /// Path of its mount.
    mount: String,
    group: String,
    /// With their paths.
    services: Vec<(String, Service)>,
}

fn stateful(config: &AppConfig) -> Vec<Stateful> {
    let mounts = config.mounts.iter().flatten().enumerate();
    let groups = config.groups();
    mounts
        .flat_map(|(index, mount)| {
            let own = groups
                .iter()
                .filter(|group| config.is_for(mount.processes.as_ref(), group));
            own.map(|group| {
                let services = config.all_services().into_iter();
                let services = services
                    .filter(|(_, service)| config.is_for(service.processes.as_ref(), group));
                Stateful {
                    mount: format!("mounts[{index}]"),
                    group: (*group).to_owned(),
                    services: services.collect(),
                }
            })
            .collect::<Vec<_>>()
        })
        .collect()
}

fn stops(service: &Service) -> bool {
    matches!(
        service.auto_stop_machines,
        Some(AutoStop::Stop | AutoStop::Suspend)
    )
}

pub(super) fn stateful_min_zero(config: &AppConfig, _: &Facts, found: &mut Found) {
    for Stateful {
        group, services, ..
    } in stateful(config)
    {
        for (path, service) in services.iter().filter(|(_, service)| stops(service)) {
            if service.min_machines_running.unwrap_or(0) == 0 {
                found.add(
                    format!("{path}.min_machines_running"),
                    format!(
                        "is 0, but group \"{group}\" keeps its state on a volume: while its machines rest, nothing replicates, \
                         backs up or runs in the background"
                    ),
                    "Set min_machines_running = 1, or auto_stop_machines = \"suspend\" if a pause is harmless.",
                );
            }
        }
    }
}

pub(super) fn single_volume_autostop(config: &AppConfig, _: &Facts, found: &mut Found) {
    for Stateful {
        group, services, ..
    } in stateful(config)
    {
        for (path, service) in &services {
            if service.auto_stop_machines == Some(AutoStop::Stop) {
                found.add(
                    format!("{path}.auto_stop_machines"),
                    format!(
                        "is \"stop\", but group \"{group}\" has volumes and so usually one machine: the next visitor waits for a \
                         cold start, and what the app holds in memory is gone"
                    ),
                    "Use \"suspend\" or \"off\".",
                );
            }
        }
    }
}

pub(super) fn volume_multiple_machines(config: &AppConfig, _: &Facts, found: &mut Found) {
    let wanted: i64 = config
        .regions
        .iter()
        .flatten()
        .map(|(_, count)| count)
        .sum();
    for Stateful { mount, group, .. } in stateful(config) {
        if wanted > 1 {
            found.add(
                mount,
                format!(
                    "gives each of the {wanted} machines of group \"{group}\" a volume of its own: nothing copies data between them"
                ),
                "Keep one machine, or use a database that replicates.",
            );
        }
    }
}

pub(super) fn release_command_volume(config: &AppConfig, _: &Facts, found: &mut Found) {
    let Some(command) = config
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.release_command.as_deref())
    else {
        return;
    };
    for mount in config.mounts.iter().flatten() {
        let Some(path) = mount.destination.as_deref().filter(|path| path.len() > 1) else {
            continue;
        };
        let database = config
            .env()
            .find(|(name, value)| name.contains("DATABASE") && value.contains(path));
        if command.contains(path) || database.is_some() {
            found.add(
                "deploy.release_command",
                format!("runs in a machine without volumes, but the database is on the volume at {path}: it would change a file nobody keeps"),
                "Run the command when the app starts, before its server.",
            );
        }
    }
}

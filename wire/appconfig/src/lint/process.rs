use std::time::Duration;

use mayfly_machine::GuestSize;

use super::{Facts, Found};
use crate::config::{AppConfig, AutoStop};

pub(super) fn missing_release_command(config: &AppConfig, facts: &Facts, found: &mut Found) {
    let has = config
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.release_command.as_deref())
        .is_some_and(|command| !command.trim().is_empty());
    // A database on a volume cannot be migrated by a release command.
    let own_disk = config.mounts.iter().flatten().next().is_some();
    if let (Some((tool, command)), false, false) = (&facts.migration, has, own_disk) {
        found.add(
            "deploy.release_command",
            format!(
                "is missing while {tool} manages the database: new code would meet the old schema"
            ),
            format!("Add [deploy] release_command = \"{command}\"."),
        );
    }
}

pub(super) fn short_kill_timeout(config: &AppConfig, _: &Facts, found: &mut Found) {
    let timeout = config
        .kill_timeout
        .map_or(Duration::from_secs(5), |timeout| timeout.0);
    let workers: Vec<&str> = config
        .groups()
        .into_iter()
        .filter(|group| !config.has_services(group))
        .collect();
    if timeout < Duration::from_secs(10)
        && let [first, ..] = workers[..]
        && config.processes.is_some()
    {
        found.add(
            "kill_timeout",
            format!("gives group \"{first}\" {}s to end: a job that takes longer is cut off at every deployment", timeout.as_secs()),
            "Set kill_timeout to the longest job, at most 300s, and let longer jobs be taken up again.",
        );
    }
    let idle = config
        .all_services()
        .into_iter()
        .find_map(|(path, service)| {
            let mut ports = service.ports.unwrap_or_default().into_iter();
            let idle = ports.find_map(|port| port.http_options?.idle_timeout)?;
            Some((path, idle))
        });
    if let Some((path, idle)) = idle
        && Duration::from_secs(idle.unsigned_abs()) > timeout
        && idle >= 60
    {
        found.add(
            "kill_timeout",
            format!("is {}s, but {path} expects connections that last {idle}s: they are cut off at every deployment", timeout.as_secs()),
            "Set kill_timeout to what requests take.",
        );
    }
}

/// Largest memory that can be suspended.
const SUSPEND_MIB_MAX: i64 = 2048;

pub(super) fn suspend_memory(config: &AppConfig, _: &Facts, found: &mut Found) {
    for (path, service) in config.all_services() {
        if service.auto_stop_machines != Some(AutoStop::Suspend) {
            continue;
        }
        let groups = config.groups().into_iter();
        for group in groups.filter(|group| config.is_for(service.processes.as_ref(), group)) {
            let memory = memory_mib(config, group);
            if memory.is_some_and(|memory| memory > SUSPEND_MIB_MAX) {
                found.add(
                    format!("{path}.auto_stop_machines"),
                    format!("is \"suspend\", but machines of group \"{group}\" have more than 2 GB of memory and are stopped instead"),
                    "Use \"stop\", or less memory.",
                );
            }
            if config.swap_size_mb.is_some_and(|swap| swap > 0) {
                found.add(
                    "swap_size_mb",
                    "keeps machines from being suspended elsewhere: a machine with swap is stopped instead",
                    "Take it out, or use auto_stop_machines = \"stop\".",
                );
                return;
            }
        }
    }
}

pub(super) fn no_swap(config: &AppConfig, facts: &Facts, found: &mut Found) {
    let Some(runtime) = &facts.hungry_runtime else {
        return;
    };
    if config.swap_size_mb.is_some_and(|swap| swap > 0) {
        return;
    }
    let small = |group: &&str| memory_mib(config, group).unwrap_or(256) <= 256;
    if let Some(group) = config.groups().into_iter().find(small) {
        found.add(
            "swap_size_mb",
            format!("is not set, and machines of group \"{group}\" have 256 MB: {runtime} can need more for a moment and be killed"),
            "Set swap_size_mb = 512, or memory = \"512mb\" under [[vm]].",
        );
    }
}

fn memory_mib(config: &AppConfig, group: &str) -> Option<i64> {
    let vm = config.vm(group)?;
    let preset = vm.size.as_deref().and_then(GuestSize::preset);
    vm.memory_mib()
        .or(preset.map(|preset| i64::from(preset.memory_mib)))
}

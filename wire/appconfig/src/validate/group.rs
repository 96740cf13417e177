use crate::config::AppConfig;
use crate::problem::{Problem, listed, perhaps};

/// Holds that every `processes` names groups that exist.
pub(super) fn check(config: &AppConfig, problems: &mut Vec<Problem>) {
    let groups = config.groups();
    for (path, processes) in filters(config) {
        for (index, name) in processes.iter().enumerate() {
            if groups.contains(&name.as_str()) {
                continue;
            }
            let known = match config
                .processes
                .as_ref()
                .is_none_or(|processes| processes.is_empty())
            {
                true => "there is no [processes] table, so the only group is \"app\"".to_owned(),
                false => format!("groups are {}", listed(&groups)),
            };
            problems.push(Problem::error(
                format!("{path}.processes[{index}]"),
                format!(
                    "names the process group \"{name}\", but {known}{}",
                    perhaps(name, groups.iter().copied())
                ),
            ));
        }
    }
    for name in config.processes.iter().flatten().map(|(name, _)| name) {
        let fits = !name.is_empty()
            && name.len() <= 63
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !fits {
            problems.push(Problem::error(
                format!("processes.{name}"),
                "must be letters, digits, - and _, at most 63",
            ));
        }
    }
    for (region, count) in config.regions.iter().flatten() {
        if region.len() < 2
            || !region
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        {
            problems.push(Problem::error(
                format!("regions.{region}"),
                "must be the code of a region, such as iad",
            ));
        }
        if *count > 1000 {
            problems.push(Problem::error(
                format!("regions.{region}"),
                "must be at most 1000 machines",
            ));
        }
    }
}

/// Every list of groups, with the path of the section it is in.
fn filters(config: &AppConfig) -> Vec<(String, Vec<String>)> {
    let mut filters = Vec::new();
    let mut add = |path: String, processes: Option<&Vec<String>>| {
        filters.extend(processes.map(|processes| (path, processes.clone())));
    };
    if let Some(service) = &config.http_service {
        add("http_service".to_owned(), service.processes.as_ref());
    }
    for (index, service) in config.services.iter().flatten().enumerate() {
        add(format!("services[{index}]"), service.processes.as_ref());
    }
    for (name, check) in config.checks.iter().flatten() {
        add(format!("checks.{name}"), check.processes.as_ref());
    }
    for (index, mount) in config.mounts.iter().flatten().enumerate() {
        add(format!("mounts[{index}]"), mount.processes.as_ref());
    }
    for (index, file) in config.files.iter().flatten().enumerate() {
        add(format!("files[{index}]"), file.processes.as_ref());
    }
    for (index, metrics) in config.metrics.iter().flatten().enumerate() {
        add(format!("metrics[{index}]"), metrics.processes.as_ref());
    }
    for (index, restart) in config.restart.iter().flatten().enumerate() {
        add(format!("restart[{index}]"), restart.processes.as_ref());
    }
    for (index, vm) in config.vm.iter().flatten().enumerate() {
        add(format!("vm[{index}]"), vm.processes.as_ref());
    }
    filters
}

/// The path in the file of a field of the group's machine configuration.
pub(super) fn own_path(config: &AppConfig, group: &str, field: &str) -> String {
    let field = field.strip_prefix("config.").unwrap_or(field);
    let indexed = |prefix: &str| -> Option<(usize, &str)> {
        let (index, rest) = field
            .strip_prefix(prefix)?
            .strip_prefix('[')?
            .split_once(']')?;
        Some((index.parse().ok()?, rest))
    };
    if let Some((index, rest)) = indexed("services") {
        let services = config.all_services();
        let mut own = services
            .iter()
            .filter(|(_, service)| config.is_for(service.processes.as_ref(), group));
        if let Some((path, service)) = own.nth(index) {
            let (path, rest) = match rest
                .strip_prefix(".checks[")
                .and_then(|rest| rest.split_once(']'))
            {
                Some((at, rest)) => {
                    let tcp = service.tcp_checks.iter().flatten().count();
                    let at: usize = at.parse().unwrap_or_default();
                    let http = if path == "http_service" {
                        "checks"
                    } else {
                        "http_checks"
                    };
                    let list = if at < tcp { "tcp_checks" } else { http };
                    (
                        format!("{path}.{list}[{}]", if at < tcp { at } else { at - tcp }),
                        rest,
                    )
                }
                None => (path.clone(), rest),
            };
            return format!("{path}{rest}");
        }
    }
    if field.starts_with("guest") {
        let vms = config.vm.iter().flatten();
        let chosen = config.vm(group);
        if let Some(index) = vms
            .clone()
            .position(|vm| chosen.is_some_and(|chosen| std::ptr::eq(vm, chosen)))
        {
            return format!(
                "vm[{index}]{}",
                field.strip_prefix("guest").unwrap_or_default()
            );
        }
    }
    if let Some((index, rest)) = indexed("mounts") {
        let rest = rest
            .replace(".path", ".destination")
            .replace(".name", ".source");
        return format!("mounts[{index}]{rest}");
    }
    match field {
        "stop_config.timeout" => "kill_timeout".to_owned(),
        "stop_config.signal" => "kill_signal".to_owned(),
        "restart.policy" => "restart".to_owned(),
        _ => field.replace("init.swap_size_mb", "swap_size_mb"),
    }
}

//! Rules between keys. Each is held on the normal form, so that it sees one spelling of everything.

mod group;
mod service;
mod storage;

use mayfly_machine::GuestSize;

use crate::config::{AppConfig, Vm};
use crate::machine::{MachineError, command_words};
use crate::problem::{Problem, perhaps};

/// The longest a program may take to end.
const KILL_TIMEOUT_MAX_S: u64 = 300;

/// Every broken rule, in no particular order.
pub(crate) fn problems(config: &AppConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    names(config, &mut problems);
    stopping(config, &mut problems);
    commands(config, &mut problems);
    build(config, &mut problems);
    deploy(config, &mut problems);
    sizes(config, &mut problems);
    group::check(config, &mut problems);
    service::check(config, &mut problems);
    storage::check(config, &mut problems);
    // What the cloud would say about each machine, unless we have said it in the file's own words.
    if !problems.iter().any(Problem::is_error) {
        machines(config, &mut problems);
    }
    problems
}

fn names(config: &AppConfig, problems: &mut Vec<Problem>) {
    if let Some(app) = config.app.as_deref().filter(|app| !app.is_empty()) {
        let fits = app.len() <= 63
            && app
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !app.starts_with('-')
            && !app.ends_with('-');
        if !fits {
            problems.push(Problem::error(
                "app",
                format!("must be lower-case letters, digits and dashes, at most 63; got \"{app}\""),
            ));
        }
    }
    for (name, value) in config.env() {
        let path = format!("env.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.push(Problem::error(
                path,
                "is no name of a variable: it must not be empty nor contain =",
            ));
        } else if value.contains('\0') {
            problems.push(Problem::error(path, "must not contain a NUL character"));
        } else if name.starts_with("FLY_") {
            problems.push(
                Problem::warning(
                    path,
                    "begins with FLY_: the platform sets such variables itself",
                )
                .remedy("Choose another name."),
            );
        }
    }
}

fn stopping(config: &AppConfig, problems: &mut Vec<Problem>) {
    if config.kill_signal.as_deref() == Some("SIGSTOP") {
        problems.push(
            Problem::warning(
                "kill_signal",
                "SIGSTOP lets no program end: machines are killed at once",
            )
            .remedy("Use SIGTERM or SIGINT, and handle it."),
        );
    }
    if config
        .kill_timeout
        .is_some_and(|timeout| timeout.0.as_secs() > KILL_TIMEOUT_MAX_S)
    {
        problems.push(Problem::error(
            "kill_timeout",
            format!("must be at most {KILL_TIMEOUT_MAX_S}s"),
        ));
    }
}

fn commands(config: &AppConfig, problems: &mut Vec<Problem>) {
    let deploy = config.deploy.clone().unwrap_or_default();
    let mut lines = vec![
        ("console_command".to_owned(), config.console_command.clone()),
        ("deploy.release_command".to_owned(), deploy.release_command),
        ("deploy.seed_command".to_owned(), deploy.seed_command),
    ];
    let processes = config.processes.iter().flatten();
    lines.extend(processes.map(|(name, line)| (format!("processes.{name}"), Some(line.clone()))));
    for (path, line) in lines {
        if command_words(line.as_deref().unwrap_or_default(), &path).is_err() {
            problems.push(
                Problem::error(&path, "is not a command: a quotation is not closed")
                    .remedy("Close it, or escape the quote with a backslash."),
            );
        }
    }
}

fn build(config: &AppConfig, problems: &mut Vec<Problem>) {
    let Some(build) = &config.build else {
        return;
    };
    let ways: Vec<&str> = [
        ("image", &build.image),
        ("builder", &build.builder),
        ("builtin", &build.builtin),
        ("dockerfile", &build.dockerfile),
    ]
    .into_iter()
    .filter(|(_, value)| value.as_deref().is_some_and(|value| !value.is_empty()))
    .map(|(key, _)| key)
    .collect();
    if let [first, .., last] = ways[..] {
        problems.push(Problem::warning(
            format!("build.{last}"),
            format!(
                "stands beside build.{first}, of which one is used: image, then dockerfile, then builder or builtin"
            ),
        ));
    }
}

fn deploy(config: &AppConfig, problems: &mut Vec<Problem>) {
    let Some(deploy) = &config.deploy else {
        return;
    };
    let strategy = deploy.strategy.as_deref();
    if strategy == Some("canary") && config.mounts.iter().flatten().next().is_some() {
        problems.push(
            Problem::error(
                "deploy.strategy",
                "canary is not possible with mounts: the canary would need a volume of its own",
            )
            .remedy("Use rolling."),
        );
    }
    if deploy.max_unavailable == Some(0.0) && strategy.is_none_or(|strategy| strategy == "rolling")
    {
        problems.push(
            Problem::error(
                "deploy.max_unavailable",
                "0 would let a rolling deployment replace nothing",
            )
            .remedy(
                "Give a share such as 0.33 or a count such as 1, or use strategy = \"bluegreen\".",
            ),
        );
    }
}

fn sizes(config: &AppConfig, problems: &mut Vec<Problem>) {
    let release = config
        .deploy
        .iter()
        .flat_map(|deploy| &deploy.release_command_vm);
    let release = release.map(|vm| ("deploy.release_command_vm".to_owned(), vm));
    let vms = config.vm.iter().flatten().enumerate();
    for (path, vm) in vms
        .map(|(index, vm)| (format!("vm[{index}]"), vm))
        .chain(release)
    {
        size(vm, &path, problems);
    }
}

fn size(vm: &Vm, path: &str, problems: &mut Vec<Problem>) {
    const GPU_SIZES: [&str; 6] = [
        "a10",
        "l40s",
        "a100-40gb",
        "a100-80gb",
        "a100-pcie-40gb",
        "a100-sxm4-80gb",
    ];
    if let Some(name) = vm.size.as_deref().filter(|name| !name.is_empty())
        && GuestSize::preset(name).is_none()
    {
        let names: Vec<String> = GuestSize::presets().map(|(name, _)| name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let known = if GPU_SIZES.contains(&name) {
            " (there are no GPUs)".to_owned()
        } else {
            perhaps(name, names.iter().copied())
        };
        problems.push(Problem::error(
            format!("{path}.size"),
            format!("must be one of {}; got \"{name}\"{known}", names.join(", ")),
        ));
    }
}

/// Lets the machines' own rules speak, with the fields named as they are in the file.
fn machines(config: &AppConfig, problems: &mut Vec<Problem>) {
    for group in config.groups() {
        let mut machine = match config
            .clone()
            .without_local_files()
            .machine_config(group, None)
        {
            Ok(machine) => machine,
            Err(MachineError::NotInlined { .. }) => continue,
            Err(error @ MachineError::Base(_)) => {
                problems.push(Problem::error("machine_config", error.to_string()));
                return;
            }
            Err(error) => {
                problems.push(Problem::error("processes", error.to_string()));
                return;
            }
        };
        config.put_image(&mut machine, "app");
        if let Err(error) = machine.check() {
            let path = group::own_path(config, group, &error.field);
            if problems.iter().all(|problem| problem.path != path) {
                problems.push(Problem::error(path, error.rule));
            }
        }
    }
}

impl AppConfig {
    /// The configuration as far as it can be judged without reading files.
    fn without_local_files(mut self) -> Self {
        // The closure cannot fail.
        let _ = self.inline(|path| {
            if path.ends_with(".json") {
                Ok::<_, ()>(b"{}".to_vec())
            } else {
                Ok(Vec::new())
            }
        });
        self
    }
}

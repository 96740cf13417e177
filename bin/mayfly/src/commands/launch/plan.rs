use std::collections::BTreeMap;
use std::path::Path;

use mayfly_appconfig::{
    AppConfig, AutoStop, Build, Deploy, Format, HttpCheck, HttpService, Mount, Vm, read,
};
use mayfly_launch::{Backing, Project};
use mayfly_types::AppName;
use mayfly_wire::{GoDuration, ServiceConcurrency, Static};

use super::{Launch, beginning};
use crate::client::App;
use crate::context::LocalConfig;
use crate::failure::Failure;
use crate::machine_config::variables;

/// Requests a machine takes unless the family says otherwise: enough for most, and no machine drowns.
const CONCURRENCY: (u32, u32) = (200, 250);

/// What a launch is going to do.
#[derive(Debug)]
pub(super) struct Plan {
    /// `None` lets the cloud choose.
    pub(super) name: Option<String>,
    /// Whether an app of this name may be the one that is meant.
    pub(super) may_exist: bool,
    pub(super) org: String,
    pub(super) project: Project,
    pub(super) config: AppConfig,
    /// Services the app will want, without those the user does not.
    pub(super) backing: Vec<Backing>,
}

impl Plan {
    /// # Errors
    /// A flag's value is not of its form, or the settings together are none that can be used.
    pub(super) fn new(
        flags: &Launch,
        directory: &Path,
        project: Project,
        region: String,
        existing: Option<&LocalConfig>,
    ) -> anyhow::Result<Self> {
        let mut config = beginning(existing);
        let configured = config.app.clone();
        config.primary_region = Some(region);
        if existing.is_none() {
            describe(&mut config, &project);
        }
        apply_flags(&mut config, flags)?;
        let name = match (&flags.name, flags.generate_name) {
            (Some(name), _) => Some(valid_name(name)?),
            (None, true) => None,
            (None, false) => configured.clone().or_else(|| directory_name(directory)),
        };
        let backing = project
            .backing
            .iter()
            .copied()
            .filter(|backing| match backing {
                Backing::Postgres | Backing::Mysql => !flags.no_db,
                Backing::Redis => !flags.no_redis,
                Backing::ObjectStorage => !flags.no_object_storage,
            });
        let plan = Self {
            may_exist: name.is_some() && name == configured,
            name,
            org: flags.org.clone().unwrap_or_else(|| "personal".to_owned()),
            backing: backing.collect(),
            project,
            config,
        };
        check(&plan.config)?;
        Ok(plan)
    }

    /// Puts in what is known once the app exists.
    pub(super) fn name_app(&mut self, app: &App) {
        self.name = Some(app.name().to_owned());
        self.config.app = Some(app.name().to_owned());
        let host = app.hostname().unwrap_or_default().to_owned();
        let url = app
            .url()
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned();
        for value in self.config.env.iter_mut().flat_map(BTreeMap::values_mut) {
            match value.as_str() {
                "APP_FQDN" => value.clone_from(&host),
                "APP_URL" => value.clone_from(&url),
                _ => {}
            }
        }
    }
}

/// Holds the rules of configurations on what came together.
///
/// # Errors
/// The settings are none that can be used; the error lists why.
pub(super) fn check(config: &AppConfig) -> anyhow::Result<()> {
    let reading = read(&config.to_text(Format::Json), Format::Json);
    let mistakes: Vec<String> = reading
        .problems
        .iter()
        .filter(|problem| problem.is_error())
        .map(|problem| format!("{} {}", shown_path(&problem.path), problem.text))
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(Failure::new("these settings do not go together")
        .remedy(mistakes.join("\n"))
        .into())
}

/// A name that was typed, before anything is done under it.
fn valid_name(name: &str) -> anyhow::Result<String> {
    match name.parse::<AppName>() {
        Ok(name) => Ok(name.to_string()),
        Err(error) => Err(Failure::new(error.to_string())
            .remedy("Choose another name with --name NAME, or let the cloud choose one with --generate-name.")
            .into()),
    }
}

/// Where a setting was said: sizes come from the command line.
fn shown_path(path: &str) -> &str {
    match path {
        "vm[0].size" => "--vm-size",
        "vm[0].cpus" => "--vm-cpus",
        "vm[0].cpu_kind" => "--vm-cpu-kind",
        "vm[0].memory" | "vm[0].memory_mb" => "--vm-memory",
        path => path,
    }
}

/// The directory's name as an app can have it.
fn directory_name(directory: &Path) -> Option<String> {
    let path = std::fs::canonicalize(directory).ok()?;
    let name = path.file_name()?.to_str()?.to_lowercase();
    let letters = name.chars().map(|letter| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    });
    let name: String = letters.take(60).collect();
    let name = name.trim_matches('-').to_owned();
    (!name.is_empty()).then_some(name)
}

/// The settings of a new app.
fn describe(config: &mut AppConfig, project: &Project) {
    let pairs = |pairs: &[(String, String)]| -> Option<BTreeMap<String, String>> {
        Some(pairs.iter().cloned().collect()).filter(|map: &BTreeMap<_, _>| !map.is_empty())
    };
    let group = project
        .processes
        .iter()
        .map(|(name, _)| name.as_str())
        .find(|name| matches!(*name, "app" | "web"))
        .or_else(|| project.processes.first().map(|(name, _)| name.as_str()))
        .unwrap_or("app")
        .to_owned();
    config.env = pairs(&project.env);
    config.processes = pairs(&project.processes);
    config.console_command.clone_from(&project.console_command);
    config.kill_signal = project.kill_signal.map(str::to_owned);
    config.swap_size_mb = project.swap_mib.map(i64::from);
    config.build = Some(Build {
        args: pairs(&project.build_args),
        dockerfile: project
            .dockerfile
            .clone()
            .filter(|name| name != "Dockerfile"),
        ..Build::default()
    });
    config.deploy = project.release_command.clone().map(|command| Deploy {
        release_command: Some(command),
        ..Deploy::default()
    });
    config.statics = Some(
        project
            .statics
            .iter()
            .map(|(path, prefix)| Static {
                guest_path: Some(path.clone()),
                url_prefix: Some(prefix.clone()),
                ..Static::default()
            })
            .collect(),
    );
    config.mounts = Some(
        project
            .mounts
            .iter()
            .map(|mount| mount_section(mount, &group, project))
            .collect(),
    );
    // State on a volume is on one machine: it keeps running, and wakes where it was if it does not.
    let stateful = !project.mounts.is_empty();
    let (soft, hard) = project.concurrency.unwrap_or(CONCURRENCY);
    config.http_service = Some(HttpService {
        internal_port: Some(i64::from(project.port)),
        force_https: Some(true),
        auto_stop_machines: Some(if stateful {
            AutoStop::Suspend
        } else {
            AutoStop::Stop
        }),
        auto_start_machines: Some(true),
        min_machines_running: Some(i64::from(stateful)),
        processes: Some(vec![group]),
        concurrency: Some(ServiceConcurrency {
            limit_type: Some("requests".to_owned()),
            soft_limit: Some(i64::from(soft)),
            hard_limit: Some(i64::from(hard)),
        }),
        checks: project.check.as_ref().map(|check| {
            let seconds = |count| Some(GoDuration(std::time::Duration::from_secs(count)));
            vec![HttpCheck {
                interval: seconds(10),
                timeout: seconds(2),
                grace_period: seconds(5),
                method: Some("GET".to_owned()),
                path: Some(check.path.clone()),
                headers: pairs(&check.headers),
                ..HttpCheck::default()
            }]
        }),
        ..HttpService::default()
    });
    let workers = project.processes.len() > 1;
    // Jobs take longer than requests; 5 s would cut them off at every deployment.
    config.kill_timeout = workers.then_some(GoDuration(std::time::Duration::from_secs(60)));
    config.vm = Some(vec![Vm {
        memory: Some("1gb".to_owned()),
        cpu_kind: Some("shared".to_owned()),
        cpus: Some(1),
        ..Vm::default()
    }]);
}

fn mount_section(mount: &mayfly_launch::Mount, group: &str, project: &Project) -> Mount {
    let mut section = Mount {
        source: Some(mount.source.clone()),
        destination: Some(mount.destination.clone()),
        processes: (project.processes.len() > 1).then(|| vec![group.to_owned()]),
        ..Mount::default()
    };
    if mount.grows {
        section.auto_extend_size_threshold = Some(80);
        section.auto_extend_size_increment = Some("1gb".to_owned());
        section.auto_extend_size_limit = Some("10gb".to_owned());
    }
    section
}

fn apply_flags(config: &mut AppConfig, flags: &Launch) -> anyhow::Result<()> {
    if let Some(image) = &flags.image {
        config.build.get_or_insert_default().image = Some(image.clone());
    }
    if let Some(dockerfile) = &flags.dockerfile {
        config.build.get_or_insert_default().dockerfile = Some(dockerfile.clone());
    }
    if !flags.env.is_empty() {
        let env = config.env.get_or_insert_default();
        env.extend(variables(&flags.env)?);
    }
    if let Some(port) = flags.internal_port {
        set_port(config, port);
    }
    if let Some(how) = &flags.auto_stop {
        let how = match how.as_str() {
            "off" => AutoStop::Off,
            "suspend" => AutoStop::Suspend,
            _ => AutoStop::Stop,
        };
        if let Some(service) = &mut config.http_service {
            service.auto_stop_machines = Some(how);
        }
        for service in config.services.iter_mut().flatten() {
            service.auto_stop_machines = Some(how);
        }
    }
    if let Some(command) = &flags.command {
        let group = config.default_group().to_owned();
        config
            .processes
            .get_or_insert_default()
            .insert(group, command.clone());
    }
    let size = &flags.size;
    if size.vm_size.is_some()
        || size.vm_cpus.is_some()
        || size.vm_cpu_kind.is_some()
        || size.vm_memory.is_some()
    {
        config.vm = Some(vec![Vm {
            size: size.vm_size.clone(),
            cpus: size.vm_cpus.map(i64::from),
            cpu_kind: size.vm_cpu_kind.clone(),
            memory: size.vm_memory.clone(),
            ..Vm::default()
        }]);
        // What was typed is brought into the normal form here, so that a wrong size is named by its flag's key.
        let reading = read(&config.to_text(Format::Json), Format::Json);
        if !reading.problems.iter().any(|problem| problem.is_error()) {
            *config = reading.config;
        }
    }
    Ok(())
}

/// Sets the port of every service, and of PORT where it says the same.
pub(super) fn set_port(config: &mut AppConfig, port: u16) {
    if let Some(service) = &mut config.http_service {
        service.internal_port = Some(i64::from(port));
    }
    for service in config.services.iter_mut().flatten() {
        service.internal_port = Some(i64::from(port));
    }
    if let Some(own) = config.env.as_mut().and_then(|env| env.get_mut("PORT")) {
        *own = port.to_string();
    }
}

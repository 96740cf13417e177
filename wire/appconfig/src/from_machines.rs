//! From machines back to the configuration they could have come from.

use std::collections::{BTreeMap, BTreeSet};

use mayfly_machine::GuestSize;
use mayfly_wire::{Check, Guest, MachineConfig};

use crate::config::{
    AppConfig, Experimental, File, HttpCheck, Metrics, Mount, Restart, Service, TcpCheck,
    TopLevelCheck, Vm,
};
use crate::group::DEFAULT_GROUP;
use crate::machine::command_words;
use crate::size;

/// A machine as it is known outside of its host.
#[derive(Clone, Debug)]
pub struct Sample {
    pub region: String,
    pub config: MachineConfig,
}

impl AppConfig {
    /// The configuration whose machines look like these: one sample of each process group decides.
    ///
    /// What a machine does not tell (how the image is built, how deployments go) is left out. Machines that do one thing
    /// and go, such as those of release commands, do not count.
    pub fn from_machines(app: &str, samples: &[Sample]) -> Self {
        let mut groups: BTreeMap<&str, &Sample> = BTreeMap::new();
        for sample in samples {
            let group = group_of(&sample.config);
            if !group.starts_with("fly_app_") {
                groups.entry(group).or_insert(sample);
            }
        }
        let mut config = AppConfig {
            app: Some(app.to_owned()),
            primary_region: primary_region(samples),
            ..AppConfig::default()
        };
        let several = groups.len() > 1;
        let only_app = groups.keys().all(|group| *group == DEFAULT_GROUP);
        for (group, sample) in &groups {
            let machine = &sample.config;
            config.add_process(group, machine, !only_app || several);
            config.add_services(group, machine, several || !only_app);
            let processes = (several || !only_app).then(|| vec![(*group).to_owned()]);
            config.add_sections(machine, processes);
            config.add_common(machine);
        }
        config.shorten();
        config
    }

    fn add_process(&mut self, group: &str, machine: &MachineConfig, named: bool) {
        let init = machine.init.clone().unwrap_or_default();
        let command = init.cmd.as_deref().map(joined).unwrap_or_default();
        if named || !command.is_empty() {
            let processes = self.processes.get_or_insert_default();
            processes.insert(group.to_owned(), command);
        }
        let experimental = Experimental {
            entrypoint: init.entrypoint,
            exec: init.exec,
            ..Experimental::default()
        };
        if experimental != Experimental::default() {
            self.experimental = Some(experimental);
        }
        self.swap_size_mb = self.swap_size_mb.or(init.swap_size_mb);
    }

    fn add_services(&mut self, group: &str, machine: &MachineConfig, named: bool) {
        for service in machine.services.iter().flatten() {
            let (tcp, http): (Vec<&Check>, Vec<&Check>) = service
                .checks
                .iter()
                .flatten()
                .partition(|check| check.check_type.as_deref() == Some("tcp"));
            let service = Service {
                protocol: service.protocol.clone(),
                internal_port: service.internal_port,
                auto_stop_machines: service.autostop.map(Into::into),
                auto_start_machines: service.autostart,
                min_machines_running: service.min_machines_running,
                ports: service.ports.clone(),
                concurrency: service.concurrency.clone(),
                tcp_checks: non_empty(tcp.into_iter().map(tcp_check).collect()),
                http_checks: non_empty(http.into_iter().map(http_check).collect()),
                machine_checks: None,
                processes: None,
            };
            let services = self.services.get_or_insert_default();
            let same = services.iter_mut().find(|known| {
                Service {
                    processes: None,
                    ..(**known).clone()
                } == service
            });
            match (same, named) {
                (Some(known), true) => known
                    .processes
                    .get_or_insert_default()
                    .push(group.to_owned()),
                (None, true) => services.push(Service {
                    processes: Some(vec![group.to_owned()]),
                    ..service
                }),
                (_, false) => services.push(service),
            }
        }
    }

    /// Sections of one group each.
    fn add_sections(&mut self, machine: &MachineConfig, processes: Option<Vec<String>>) {
        for mount in machine.mounts.iter().flatten() {
            self.mounts.get_or_insert_default().push(Mount {
                source: mount.name.clone(),
                destination: mount.path.clone(),
                auto_extend_size_threshold: mount.extend_threshold_percent,
                auto_extend_size_increment: mount.add_size_gb.map(|gb| size::shown(gb * 1024)),
                auto_extend_size_limit: mount.size_gb_limit.map(|gb| size::shown(gb * 1024)),
                processes: processes.clone(),
                ..Mount::default()
            });
        }
        for file in machine.files.iter().flatten() {
            self.files.get_or_insert_default().push(File {
                guest_path: file.guest_path.clone(),
                raw_value: file.raw_value.clone(),
                secret_name: file.secret_name.clone(),
                local_path: None,
                processes: processes.clone(),
            });
        }
        if let Some(metrics) = &machine.metrics {
            self.metrics.get_or_insert_default().push(Metrics {
                port: metrics.port,
                path: metrics.path.clone(),
                https: metrics.https,
                processes: processes.clone(),
            });
        }
        if let Some(restart) = &machine.restart {
            self.restart.get_or_insert_default().push(Restart {
                policy: restart
                    .policy
                    .as_deref()
                    .map(|policy| if policy == "no" { "never" } else { policy }.to_owned()),
                retries: restart.max_retries,
                processes: processes.clone(),
            });
        }
        if let Some(guest) = &machine.guest {
            self.vm
                .get_or_insert_default()
                .push(vm(guest, processes.clone()));
        }
        for (name, check) in machine.checks.iter().flatten() {
            self.checks
                .get_or_insert_default()
                .insert(name.clone(), top_level_check(check, processes.clone()));
        }
    }

    /// What all groups share.
    fn add_common(&mut self, machine: &MachineConfig) {
        let env: BTreeMap<String, String> = machine
            .env
            .iter()
            .flatten()
            .filter(|(name, value)| {
                let region =
                    *name == "PRIMARY_REGION" && Some(*value) == self.primary_region.as_ref();
                !region && !name.starts_with("FLY_")
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !env.is_empty() {
            self.env.get_or_insert_default().extend(env);
        }
        if self.statics.is_none() {
            self.statics.clone_from(&machine.statics);
        }
        if let Some(stop) = &machine.stop_config {
            self.kill_timeout = self.kill_timeout.or(stop.timeout);
            self.kill_signal = self.kill_signal.take().or_else(|| stop.signal.clone());
        }
    }

    /// The shorter of two ways to say the same.
    fn shorten(&mut self) {
        let short = self
            .services
            .as_deref()
            .and_then(|services| services.first()?.as_http_service());
        if let (Some(short), Some(services)) = (short, &mut self.services) {
            services.remove(0);
            self.http_service = Some(short);
        }
        self.services = self.services.take().and_then(non_empty);
        if let Some(restart) = &mut self.restart {
            merge_same(restart, |restart| &mut restart.processes);
        }
        if let Some(vm) = &mut self.vm {
            merge_same(vm, |vm| &mut vm.processes);
        }
        // One section for every group needs no list of them.
        let groups = self.processes.as_ref().map_or(1, BTreeMap::len);
        let all = |processes: &mut Option<Vec<String>>| {
            if processes.as_ref().is_some_and(|own| own.len() == groups) {
                *processes = None;
            }
        };
        self.vm
            .iter_mut()
            .flatten()
            .for_each(|vm| all(&mut vm.processes));
        self.restart
            .iter_mut()
            .flatten()
            .for_each(|restart| all(&mut restart.processes));
    }
}

/// Makes one section of those that differ in their groups only.
fn merge_same<T: Clone + PartialEq>(
    sections: &mut Vec<T>,
    processes: impl Fn(&mut T) -> &mut Option<Vec<String>>,
) {
    let mut merged: Vec<T> = Vec::new();
    for mut section in std::mem::take(sections) {
        let own = processes(&mut section).take();
        let same = merged.iter_mut().find(|known| {
            let mut bare = (**known).clone();
            *processes(&mut bare) = None;
            bare == section
        });
        match same {
            Some(known) => {
                if let (Some(known), Some(own)) = (processes(known), own) {
                    known.extend(own);
                }
            }
            None => {
                *processes(&mut section) = own;
                merged.push(section);
            }
        }
    }
    *sections = merged;
}

fn group_of(machine: &MachineConfig) -> &str {
    let metadata = machine.metadata.as_ref();
    let group = metadata.and_then(|metadata| {
        metadata
            .get("fly_process_group")
            .or_else(|| metadata.get("process_group"))
    });
    group.map_or(DEFAULT_GROUP, String::as_str)
}

/// What machines were told, else the region most of them are in.
fn primary_region(samples: &[Sample]) -> Option<String> {
    let told = samples
        .iter()
        .find_map(|sample| sample.config.env.as_ref()?.get("PRIMARY_REGION"));
    if let Some(region) = told {
        return Some(region.clone());
    }
    let regions: BTreeSet<&str> = samples
        .iter()
        .map(|sample| sample.region.as_str())
        .collect();
    let count = |region: &str| {
        samples
            .iter()
            .filter(|sample| sample.region == region)
            .count()
    };
    regions
        .into_iter()
        .filter(|region| !region.is_empty())
        .max_by_key(|region| count(region))
        .map(str::to_owned)
}

/// A command line that splits into these words again.
fn joined(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let line = quoted.join(" ");
    debug_assert_eq!(command_words(&line, "").as_deref(), Ok(words));
    line
}

fn quoted(word: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,{}[]!*?~^<>|&;()$#".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn vm(guest: &Guest, processes: Option<Vec<String>>) -> Vm {
    let preset = GuestSize::presets().find(|(_, size)| {
        guest.cpu_kind.as_deref() == Some(size.cpu_kind.as_str())
            && guest.cpus == Some(i64::from(size.cpus))
            && guest.memory_mb == Some(i64::from(size.memory_mib))
    });
    let mut vm = Vm {
        max_memory_mb: guest.max_memory_mb,
        gpus: guest.gpus,
        gpu_kind: guest.gpu_kind.clone(),
        host_dedication_id: guest.host_dedication_id.clone(),
        kernel_args: guest.kernel_args.clone(),
        persist_rootfs: guest
            .persist_rootfs
            .map(|persist| persist.as_str().to_owned()),
        processes,
        ..Vm::default()
    };
    match preset {
        Some((name, _)) => vm.size = Some(name),
        None => {
            vm.cpu_kind = guest.cpu_kind.clone();
            vm.cpus = guest.cpus;
            vm.memory = guest.memory_mb.map(size::shown);
        }
    }
    vm
}

fn tcp_check(check: &Check) -> TcpCheck {
    TcpCheck {
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
    }
}

fn http_check(check: &Check) -> HttpCheck {
    HttpCheck {
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
        method: check.method.clone(),
        path: check.path.clone(),
        protocol: check.protocol.clone(),
        tls_skip_verify: check.tls_skip_verify,
        tls_server_name: check.tls_server_name.clone(),
        headers: headers(check),
    }
}

fn top_level_check(check: &Check, processes: Option<Vec<String>>) -> TopLevelCheck {
    TopLevelCheck {
        check_type: check.check_type.clone(),
        port: check.port,
        kind: check.kind.clone(),
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
        method: check.method.clone(),
        path: check.path.clone(),
        protocol: check.protocol.clone(),
        tls_skip_verify: check.tls_skip_verify,
        tls_server_name: check.tls_server_name.clone(),
        headers: headers(check),
        processes,
    }
}

fn headers(check: &Check) -> Option<BTreeMap<String, String>> {
    let headers: BTreeMap<String, String> = check
        .headers
        .iter()
        .flatten()
        .filter_map(|header| {
            Some((
                header.name.clone()?,
                header.values.clone().unwrap_or_default().join(", "),
            ))
        })
        .collect();
    Some(headers).filter(|headers| !headers.is_empty())
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

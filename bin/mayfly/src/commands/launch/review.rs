//! The plan before anything happens: shown, and changed where somebody can be asked.

use anyhow::Context as _;
use mayfly_appconfig::Vm;
use mayfly_types::AppName;

use super::plan::{self, Plan, set_port};
use super::region;
use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_config::memory_mib;
use crate::output::fields;

pub(super) fn show(context: &Context, plan: &Plan) -> anyhow::Result<()> {
    let config = &plan.config;
    let port = config
        .http_service
        .as_ref()
        .and_then(|service| service.internal_port);
    let port = port.map_or_else(|| "none".to_owned(), |port| port.to_string());
    let size = config
        .vm(config.default_group())
        .map_or_else(|| "shared-cpu-1x".to_owned(), shown_size);
    let groups = config.groups().join(", ");
    let volumes: Vec<&str> = config
        .mounts
        .iter()
        .flatten()
        .filter_map(|mount| mount.destination.as_deref())
        .collect();
    let volumes = volumes.join(", ");
    let backing: Vec<&str> = plan
        .backing
        .iter()
        .map(|backing| backing.as_str())
        .collect();
    let backing = backing.join(", ");
    let region = config.primary_region.as_deref().unwrap_or("-");
    let mut pairs = vec![
        ("Kind", plan.project.family),
        ("Name", plan.name.as_deref().unwrap_or("<generated>")),
        ("Organization", plan.org.as_str()),
        ("Region", region),
        ("Port", port.as_str()),
        ("Machines", size.as_str()),
        ("Processes", groups.as_str()),
    ];
    if !volumes.is_empty() {
        pairs.push(("Volumes", volumes.as_str()));
    }
    if !backing.is_empty() {
        pairs.push(("Will want", backing.as_str()));
    }
    Ok(fields(&context.out, "Launch", &pairs)?)
}

fn shown_size(vm: &Vm) -> String {
    if let Some(size) = &vm.size {
        return match &vm.memory {
            Some(memory) => format!("{size}, {memory}"),
            None => size.clone(),
        };
    }
    let kind = vm.cpu_kind.as_deref().unwrap_or("shared");
    let cpus = vm.cpus.unwrap_or(1);
    let memory = vm.memory.as_deref().unwrap_or("256mb");
    format!("{kind}, {cpus} CPU, {memory}")
}

/// Refuses before anything is shown when nobody could agree to it.
pub(super) fn need_somebody(context: &Context) -> anyhow::Result<()> {
    if context.out.can_ask() {
        return Ok(());
    }
    Err(Failure::new("cannot ask whether the plan is right without a terminal")
        .remedy("Agree to it on the command line with --yes, or with --now to keep files that are there.")
        .into())
}

/// Asks whether anything shall be different, and what.
pub(super) async fn tweak(context: &Context, api: &Api, plan: &mut Plan) -> anyhow::Result<()> {
    let out = &context.out;
    if !out.confirm("Change something before going on?")? {
        return Ok(());
    }
    let current = plan.name.clone().unwrap_or_default();
    let name = |text: &str| Ok(text.parse::<AppName>()?.to_string());
    if let Some(name) = out.ask_instead("Name", &current, "--name", name)? {
        plan.may_exist = false;
        plan.name = Some(name);
    }
    let orgs: Vec<String> = api
        .orgs()
        .await?
        .iter()
        .map(|org| org.slug().to_owned())
        .collect();
    if orgs.len() > 1 {
        let chosen = out.choose("Organization", &orgs, "--org")?;
        plan.org.clone_from(&orgs[chosen]);
    }
    let codes = region::codes(api).await?;
    let current = plan.config.primary_region.clone().unwrap_or_default();
    let region = |text: &str| region::known(text, &codes);
    if let Some(region) = out.ask_instead("Region", &current, "--region", region)? {
        plan.config.primary_region = Some(region);
    }
    let service = plan.config.http_service.as_ref();
    if let Some(current) = service.and_then(|service| service.internal_port) {
        let current = current.to_string();
        if let Some(port) = out.ask_instead("Port", &current, "--internal-port", port)? {
            set_port(&mut plan.config, port);
        }
    }
    if let Some(vm) = plan.config.vm.iter().flatten().next() {
        let current = vm.memory.clone().unwrap_or_default();
        let memory = |text: &str| {
            memory_mib(text)?;
            let mut config = plan.config.clone();
            if let Some(vm) = config.vm.iter_mut().flatten().next() {
                vm.memory = Some(text.to_owned());
            }
            plan::check(&config)?;
            Ok(config.vm)
        };
        if let Some(sized) = out.ask_instead("Memory", &current, "--vm-memory", memory)? {
            plan.config.vm = sized;
        }
    }
    show(context, plan)
}

fn port(text: &str) -> anyhow::Result<u16> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.context("a port is a number from 1 to 65535")
}

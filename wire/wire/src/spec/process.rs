use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mayfly_machine::{
    DnsSpec, EnvFrom, FieldRef, FileContent, FileSpec, InitSpec, ProcessSpec, SecretEnv,
};

use super::field::{At, InvalidConfig, absent_if_empty};
use crate::config::{self, Dns, File, Init, Process};

/// MiB of swap.
const SWAP_MAX_MIB: i64 = 65_536;

pub(super) fn init(init: Option<&Init>, at: &At) -> Result<InitSpec, InvalidConfig> {
    let Some(init) = init else {
        return Ok(InitSpec::default());
    };
    let swap_mib: Option<u32> = init
        .swap_size_mb
        .map(|mib| at.field("swap_size_mb").within(mib, 0, SWAP_MAX_MIB))
        .transpose()?;
    Ok(InitSpec {
        exec: at.field("exec").arguments(init.exec.as_ref())?,
        entrypoint: at.field("entrypoint").arguments(init.entrypoint.as_ref())?,
        cmd: at.field("cmd").arguments(init.cmd.as_ref())?,
        tty: init.tty.unwrap_or(false),
        swap_mib: swap_mib.filter(|mib| *mib > 0),
    })
}

pub(super) fn processes(
    processes: Option<&[Process]>,
    at: &At,
) -> Result<Vec<ProcessSpec>, InvalidConfig> {
    let processes = processes.unwrap_or_default().iter().enumerate();
    processes
        .map(|(index, process)| self::process(process, &at.index(index)))
        .collect()
}

pub(super) fn process(process: &Process, at: &At) -> Result<ProcessSpec, InvalidConfig> {
    Ok(ProcessSpec {
        exec: at.field("exec").arguments(process.exec.as_ref())?,
        entrypoint: at
            .field("entrypoint")
            .arguments(process.entrypoint.as_ref())?,
        cmd: at.field("cmd").arguments(process.cmd.as_ref())?,
        user: absent_if_empty(process.user.as_ref()).cloned(),
        env: super::environment(process.env.as_ref(), &at.field("env"))?,
        env_from: env_from(process.env_from.as_deref(), &at.field("env_from"))?,
        secrets: secrets(process.secrets.as_deref(), &at.field("secrets"))?,
        ignore_app_secrets: process.ignore_app_secrets.unwrap_or(false),
    })
}

fn env_from(entries: Option<&[config::EnvFrom]>, at: &At) -> Result<Vec<EnvFrom>, InvalidConfig> {
    let entries = entries.unwrap_or_default().iter().enumerate();
    let read = |(index, entry): (usize, &config::EnvFrom)| {
        let at = at.index(index);
        let env_var = entry.env_var.clone().unwrap_or_default();
        super::variable_name(&env_var, &at.field("env_var"))?;
        let field = match entry.field_ref.as_deref() {
            Some("id") => FieldRef::Id,
            Some("version") => FieldRef::Version,
            Some("app_name") => FieldRef::AppName,
            Some("private_ip") => FieldRef::PrivateIp,
            Some("region") => FieldRef::Region,
            Some("image") => FieldRef::Image,
            _ => {
                return at.field("field_ref").one_of(&[
                    "id",
                    "version",
                    "app_name",
                    "private_ip",
                    "region",
                    "image",
                ]);
            }
        };
        Ok(EnvFrom { env_var, field })
    };
    entries.map(read).collect()
}

fn secrets(
    entries: Option<&[config::SecretEnv]>,
    at: &At,
) -> Result<Vec<SecretEnv>, InvalidConfig> {
    let entries = entries.unwrap_or_default().iter().enumerate();
    let read = |(index, entry): (usize, &config::SecretEnv)| {
        let env_var = entry.env_var.clone().unwrap_or_default();
        super::variable_name(&env_var, &at.index(index).field("env_var"))?;
        let name = absent_if_empty(entry.name.as_ref()).unwrap_or(&env_var);
        Ok(SecretEnv {
            name: name.clone(),
            env_var,
        })
    };
    entries.map(read).collect()
}

pub(super) fn files(files: Option<&[File]>, at: &At) -> Result<Vec<FileSpec>, InvalidConfig> {
    let files = files.unwrap_or_default().iter().enumerate();
    files
        .map(|(index, file)| self::file(file, &at.index(index)))
        .collect()
}

fn file(file: &File, at: &At) -> Result<FileSpec, InvalidConfig> {
    let guest_path = at
        .field("guest_path")
        .absolute_path(file.guest_path.as_ref())?;
    let secret = absent_if_empty(file.secret_name.as_ref());
    let image = absent_if_empty(file.image_config.as_ref());
    let content = match (&file.raw_value, secret, image) {
        (None, None, None) => FileContent::Absent,
        (Some(base64), None, None) => {
            let bytes = STANDARD.decode(base64).or_else(|error| {
                at.field("raw_value")
                    .refuse(format!("must be base64: {error}"))
            });
            FileContent::Bytes(bytes?)
        }
        (None, Some(name), None) => FileContent::Secret(name.clone()),
        (None, None, Some(_)) => {
            FileContent::ImageConfig(super::image(image, &at.field("image_config"))?)
        }
        _ => return at.refuse("must have only one of raw_value, secret_name and image_config"),
    };
    let mode = file
        .mode
        .map(|mode| at.field("mode").within(mode, 0, 0o7777))
        .transpose()?;
    Ok(FileSpec {
        guest_path,
        content,
        // Go clients leave zero out, so it means the default.
        mode: mode.filter(|mode| *mode != 0),
    })
}

pub(super) fn dns(dns: Option<&Dns>, at: &At) -> Result<DnsSpec, InvalidConfig> {
    let Some(dns) = dns else {
        return Ok(DnsSpec::default());
    };
    let nameservers = dns.nameservers.clone().unwrap_or_default();
    for (index, server) in nameservers.iter().enumerate() {
        if server.parse::<IpAddr>().is_err() {
            return at
                .field("nameservers")
                .index(index)
                .refuse("must be an IP address");
        }
    }
    let searches = dns.searches.clone().unwrap_or_default();
    for (index, domain) in searches.iter().enumerate() {
        host_name(domain, &at.field("searches").index(index))?;
    }
    let mut options = Vec::new();
    for (index, option) in dns.options.iter().flatten().enumerate() {
        let text = match (
            absent_if_empty(option.name.as_ref()),
            absent_if_empty(option.value.as_ref()),
        ) {
            (Some(name), Some(value)) => format!("{name}:{value}"),
            (Some(name), None) => name.clone(),
            (None, _) => {
                let at = at.field("options").index(index).field("name");
                return at.refuse("is required");
            }
        };
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let at = at.field("options").index(index);
            return at.refuse("must not contain white space");
        }
        options.push(text);
    }
    for (index, rule) in dns.dns_forward_rules.iter().flatten().enumerate() {
        let at = at.field("dns_forward_rules").index(index);
        host_name(
            rule.basename.as_deref().unwrap_or_default(),
            &at.field("basename"),
        )?;
        if absent_if_empty(rule.addr.as_ref()).is_none() {
            return at.field("addr").refuse("is required: an address");
        }
    }
    let hostname = absent_if_empty(dns.hostname.as_ref());
    let fqdn = absent_if_empty(dns.hostname_fqdn.as_ref());
    for (name, field) in [(hostname, "hostname"), (fqdn, "hostname_fqdn")] {
        if let Some(name) = name {
            host_name(name, &at.field(field))?;
        }
    }
    Ok(DnsSpec {
        skip_registration: dns.skip_registration.unwrap_or(false),
        nameservers,
        searches,
        options,
        hostname: hostname.cloned(),
        hostname_fqdn: fqdn.cloned(),
    })
}

fn host_name(name: &str, at: &At) -> Result<(), InvalidConfig> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() > 253 || !bare.split('.').all(label) {
        return at
            .refuse("must be a host name: labels of letters, digits, - and _ divided by dots");
    }
    Ok(())
}

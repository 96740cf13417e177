use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use mayfly_types::{AppName, ImageRef, InstanceId, MachineId, Region, Secret};

use crate::{EnvFrom, FieldRef, ImageDefaults, MachineSpec, ProcessSpec};

/// What a machine is told about itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub app_name: &'a AppName,
    pub machine_id: MachineId,
    pub instance_id: InstanceId,
    pub region: &'a Region,
    pub private_ip: Ipv6Addr,
    /// The address of its own that it leaves by; most machines leave as their host.
    pub egress_ip: Option<IpAddr>,
    pub hostname: &'a str,
}

/// Where programs are looked for when the image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Metadata that names the process group, newest spelling first.
const PROCESS_GROUP_KEYS: [&str; 2] = ["fly_process_group", "process_group"];

/// The environment of one process of a machine: the image's, the user's, app secrets (which win over the user's
/// plain values), and the platform's own, which nothing overrides.
///
/// `process` is one of several programs or containers; its own settings win over the machine's. The platform's names
/// are those of <https://fly.io/docs/machines/runtime-environment/>.
pub fn environment(
    spec: &MachineSpec,
    process: Option<&ProcessSpec>,
    image: (&ImageRef, &ImageDefaults),
    secrets: &BTreeMap<String, Secret>,
    facts: &Facts<'_>,
) -> BTreeMap<String, String> {
    let (image_ref, defaults) = image;
    let mut env = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    env.extend(defaults.env.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    }));
    if let Some(group) = PROCESS_GROUP_KEYS
        .iter()
        .find_map(|key| spec.metadata.get(*key))
    {
        env.insert("FLY_PROCESS_GROUP".to_owned(), group.clone());
    }
    env.extend(spec.env.clone());
    if process.is_none_or(|process| !process.ignore_app_secrets) {
        env.extend(
            secrets
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned())),
        );
    }
    if let Some(process) = process {
        env.extend(process.env.clone());
        for wanted in &process.secrets {
            if let Some(value) = secrets.get(&wanted.name) {
                env.insert(wanted.env_var.clone(), value.reveal().to_owned());
            }
        }
        for EnvFrom { env_var, field } in &process.env_from {
            env.insert(env_var.clone(), fact(*field, image_ref, facts));
        }
    }
    if spec.init.tty {
        env.entry("TERM".to_owned())
            .or_insert_with(|| "xterm".to_owned());
    }
    for (name, field) in [
        ("FLY_APP_NAME", FieldRef::AppName),
        ("FLY_MACHINE_ID", FieldRef::Id),
        ("FLY_ALLOC_ID", FieldRef::Id),
        ("FLY_REGION", FieldRef::Region),
        ("FLY_PRIVATE_IP", FieldRef::PrivateIp),
        ("FLY_IMAGE_REF", FieldRef::Image),
        ("FLY_MACHINE_VERSION", FieldRef::Version),
    ] {
        env.insert(name.to_owned(), fact(field, image_ref, facts));
    }
    // Whoever leaves as the host has no public address of its own to be told.
    let public_ip = match facts.egress_ip {
        None => expanded(facts.private_ip),
        Some(IpAddr::V6(ip)) => expanded(ip),
        Some(IpAddr::V4(ip)) => ip.to_string(),
    };
    env.insert("FLY_PUBLIC_IP".to_owned(), public_ip);
    env.insert(
        "FLY_VM_MEMORY_MB".to_owned(),
        spec.size.memory_mib.to_string(),
    );
    env.insert("HOSTNAME".to_owned(), facts.hostname.to_owned());
    env
}

fn fact(field: FieldRef, image: &ImageRef, facts: &Facts<'_>) -> String {
    match field {
        FieldRef::Id => facts.machine_id.to_string(),
        FieldRef::Version => facts.instance_id.to_string(),
        FieldRef::AppName => facts.app_name.to_string(),
        FieldRef::PrivateIp => expanded(facts.private_ip),
        FieldRef::Region => facts.region.to_string(),
        FieldRef::Image => image.to_string(),
    }
}

/// All eight groups without `::`, as clients that split on `:` expect.
pub fn expanded(address: Ipv6Addr) -> String {
    address
        .segments()
        .map(|group| format!("{group:x}"))
        .join(":")
}

#[cfg(test)]
mod tests {
    use mayfly_types::Timestamp;

    use super::*;
    use crate::{InitSpec, SecretEnv};

    fn spec() -> MachineSpec {
        MachineSpec {
            init: InitSpec {
                tty: true,
                ..Default::default()
            },
            files: vec![],
            processes: vec![],
            containers: vec![],
            restart: Default::default(),
            stop: Default::default(),
            standbys: vec![],
            rootfs: Default::default(),
            mounts: Vec::new(),
            dns: Default::default(),
            services: vec![],
            ..MachineSpec::of_image("web:1".parse().unwrap())
        }
    }

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn of(spec: &MachineSpec, process: Option<&ProcessSpec>) -> BTreeMap<String, String> {
        let app = "web".parse().unwrap();
        let region = "iad".parse().unwrap();
        let facts = Facts {
            app_name: &app,
            machine_id: "e784079f004d86".parse().unwrap(),
            instance_id: InstanceId::new(Timestamp::from_millis(0), [0; 10]),
            region: &region,
            private_ip: "fdaa:0:1::2".parse().unwrap(),
            egress_ip: Some("2001:db8::7".parse().unwrap()),
            hostname: "e784079f004d86",
        };
        let image = ImageDefaults {
            env: vec!["A=image".into(), "B=image".into(), "odd".into()],
            ..Default::default()
        };
        let secrets = BTreeMap::from([("C".to_owned(), Secret::new("sealed"))]);
        environment(spec, process, (&spec.image, &image), &secrets, &facts)
    }

    #[test]
    fn later_sources_win_and_the_platform_has_the_last_word() {
        let mut spec = spec();
        spec.env = names(&[("B", "user"), ("C", "user"), ("FLY_REGION", "forged")]);
        spec.metadata = names(&[("fly_process_group", "worker")]);
        let env = of(&spec, None);
        for (name, value) in [
            ("A", "image"),
            ("B", "user"),
            ("C", "sealed"),
            ("PATH", DEFAULT_PATH),
            ("TERM", "xterm"),
            ("HOSTNAME", "e784079f004d86"),
            ("FLY_APP_NAME", "web"),
            ("FLY_MACHINE_ID", "e784079f004d86"),
            ("FLY_ALLOC_ID", "e784079f004d86"),
            ("FLY_REGION", "iad"),
            ("FLY_PRIVATE_IP", "fdaa:0:1:0:0:0:0:2"),
            ("FLY_PUBLIC_IP", "2001:db8:0:0:0:0:0:7"),
            ("FLY_IMAGE_REF", "docker.io/library/web:1"),
            ("FLY_MACHINE_VERSION", "00000000000000000000000000"),
            ("FLY_PROCESS_GROUP", "worker"),
            ("FLY_VM_MEMORY_MB", "256"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("odd"));
    }

    #[test]
    fn a_process_chooses_its_secrets_and_facts() {
        let process = ProcessSpec {
            env: names(&[("A", "process")]),
            secrets: vec![SecretEnv {
                env_var: "TOKEN".into(),
                name: "C".into(),
            }],
            env_from: vec![EnvFrom {
                env_var: "WHERE".into(),
                field: FieldRef::Region,
            }],
            ignore_app_secrets: true,
            ..Default::default()
        };
        let env = of(&spec(), Some(&process));
        assert_eq!(env["A"], "process");
        assert_eq!(env["TOKEN"], "sealed");
        assert_eq!(env["WHERE"], "iad");
        assert!(!env.contains_key("C"));
    }
}

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mayfly_driver::{Body, Launch};
use mayfly_edge_api::IpFamily;
use mayfly_guest::{
    ContainerLaunch, FileEntry, LaunchSpec, MountEntry, ProcessLaunch, RestartRule, RootLaunch,
    Sandbox, VolumeLaunch,
};
use mayfly_image::{ImageConfig, Pinned};
use mayfly_machine::{
    ContainerSpec, Facts, FileContent, FileSpec, ImageDefaults, Machine, MountSpec, NothingToRun,
    Overrides, ProcessSpec, RestartMode, RestartPolicy, Rights, environment, etc_hosts,
    etc_resolv_conf,
};
use mayfly_runtime::report;
use mayfly_types::{ImageRef, LaunchId, MachineId};

use crate::config::door_dir;
use crate::host::Shared;

/// The container of a machine that has only one.
const MAIN: &str = "main";

/// As upstream, whose programs open `/.fly/api`.
const DOOR: &str = "/.fly";

const FILE_MODE_DEFAULT: u32 = 0o644;

/// Why a machine's version cannot be turned into a guest. Starting again will not help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("container {container}")]
    Command {
        container: String,
        #[source]
        source: NothingToRun,
    },
    #[error("file {path}: there is no app secret `{secret}`")]
    NoSecret { path: String, secret: String },
    #[error("file {path}: app secret `{secret}` is not base64")]
    SecretEncoding { path: String, secret: String },
    #[error("read the configuration of image {image}: {reason}")]
    ImageConfig { image: String, reason: String },
}

/// What stays the same over the machine's launches.
pub(crate) fn body(machine: &Machine) -> Body {
    let identity = &machine.identity;
    let spec = &machine.version.spec;
    Body {
        machine_id: identity.machine_id,
        network: identity.network,
        private_ip: identity.private_ip,
        ipv4: identity.ipv4,
        size: spec.size,
        swap_mib: spec.init.swap_mib.unwrap_or(0),
        rootfs: spec.rootfs,
    }
}

/// Everything the driver needs for one start. `pins` are the machine's images, in order.
pub(crate) fn launch(
    shared: &Shared,
    machine: &Machine,
    launch_id: LaunchId,
    pins: &[Pinned],
) -> Result<Launch, LaunchError> {
    let maker = Maker { shared, machine };
    let spec = &machine.version.spec;
    let containers = if spec.containers.is_empty() {
        vec![maker.single(&pins[0])?]
    } else {
        spec.containers
            .iter()
            .zip(pins)
            .enumerate()
            .map(|(index, (container, pin))| maker.one_of_many(index, container, pin))
            .collect::<Result<_, _>>()?
    };
    let images = containers
        .iter()
        .zip(pins)
        .map(|(container, pin)| (container.name.clone(), pin.digest))
        .collect();
    let identity = &machine.identity;
    let hostname = maker.hostname();
    let fqdn = spec.dns.hostname_fqdn.as_deref();
    Ok(Launch {
        launch_id,
        spec: LaunchSpec {
            version: 1,
            machine_id: identity.machine_id,
            launch_id,
            etc_hosts: etc_hosts(&hostname, fqdn, identity.private_ip, identity.ipv4),
            etc_resolv_conf: etc_resolv_conf(&spec.dns, &shared.config.nameservers),
            hostname,
            log_dir: shared.config.log_dir(identity.machine_id),
            netns: None,
            cgroups: Vec::new(),
            containers,
            stop_signal: spec.stop.signal.number(),
            sandbox: sandbox(spec.rights, identity.machine_id),
            volumes: spec.mounts.iter().map(volume).collect(),
        },
        images,
        keep_rootfs: machine.keeps_rootfs(),
    })
}

struct Maker<'a> {
    shared: &'a Shared,
    machine: &'a Machine,
}

impl Maker<'_> {
    fn hostname(&self) -> String {
        let dns = &self.machine.version.spec.dns;
        dns.hostname
            .clone()
            .unwrap_or_else(|| self.machine.identity.machine_id.to_string())
    }

    /// A machine without `containers`: one root filesystem, one or several processes.
    fn single(&self, pin: &Pinned) -> Result<ContainerLaunch, LaunchError> {
        let spec = &self.machine.version.spec;
        let config = self.config(&spec.image, pin)?;
        let processes = if spec.processes.is_empty() {
            let overrides = Overrides::from(&spec.init);
            vec![self.process(MAIN, &spec.image, &config, overrides, None)?]
        } else {
            spec.processes
                .iter()
                .map(|process| {
                    let overrides = Overrides::from(process);
                    self.process(MAIN, &spec.image, &config, overrides, Some(process))
                })
                .collect::<Result<_, _>>()?
        };
        Ok(ContainerLaunch {
            name: MAIN.to_owned(),
            root: unset_root(),
            processes,
            files: self.files(&spec.files)?,
            mounts: vec![self.door()],
            restart: RestartRule::Never,
            stop_signal: spec.stop.signal.number(),
            stop_patience_ms: millis(spec.stop.patience),
            depends_on: Vec::new(),
            healthchecks: Vec::new(),
        })
    }

    fn one_of_many(
        &self,
        index: usize,
        container: &ContainerSpec,
        pin: &Pinned,
    ) -> Result<ContainerLaunch, LaunchError> {
        let spec = &self.machine.version.spec;
        let config = self.config(&container.image, pin)?;
        let process = &container.process;
        let overrides = Overrides::from(process);
        let stop = container.stop.unwrap_or(spec.stop);
        let mut files = self.files(&spec.files)?;
        files.extend(self.files(&container.files)?);
        // The main container's end is the machine's, whose restarts the host decides.
        let restart = if index == 0 {
            RestartRule::Never
        } else {
            restart_rule(container.restart.unwrap_or(spec.restart))
        };
        Ok(ContainerLaunch {
            name: container.name.clone(),
            root: unset_root(),
            processes: vec![self.process(
                &container.name,
                &container.image,
                &config,
                overrides,
                Some(process),
            )?],
            files,
            mounts: vec![self.door()],
            restart,
            stop_signal: stop.signal.number(),
            stop_patience_ms: millis(stop.patience),
            depends_on: container.depends_on.clone(),
            healthchecks: container.healthchecks.clone(),
        })
    }

    fn process(
        &self,
        container: &str,
        image: &ImageRef,
        config: &ImageConfig,
        overrides: Overrides<'_>,
        process: Option<&ProcessSpec>,
    ) -> Result<ProcessLaunch, LaunchError> {
        let defaults = defaults(config);
        let argv = defaults
            .argv(overrides)
            .map_err(|source| LaunchError::Command {
                container: container.to_owned(),
                source,
            })?;
        let identity = &self.machine.identity;
        let version = &self.machine.version;
        let facts = Facts {
            app_name: &identity.app_name,
            machine_id: identity.machine_id,
            instance_id: version.instance_id,
            region: &identity.region,
            private_ip: identity.private_ip,
            egress_ip: self.egress_ip(),
            hostname: &self.hostname(),
        };
        let env = environment(
            &version.spec,
            process,
            (image, &defaults),
            &version.secrets,
            &facts,
        );
        let user = process.and_then(|process| process.user.clone());
        Ok(ProcessLaunch {
            argv,
            env,
            cwd: or_if_empty(&config.workdir, "/"),
            user: user.unwrap_or_else(|| or_if_empty(&config.user, "0")),
            tty: version.spec.init.tty,
        })
    }

    /// As the control plane publishes it now; of two, the IPv6 address.
    fn egress_ip(&self) -> Option<IpAddr> {
        let identity = &self.machine.identity;
        let directory = self.shared.deps.directory.borrow();
        let mut apps = directory.apps.iter();
        let app = apps.find(|app| app.app_id == identity.app_id)?;
        let of = |family| app.egress_of(identity.machine_id, &identity.region, family);
        of(IpFamily::V6).or_else(|| of(IpFamily::V4))
    }

    fn config(&self, image: &ImageRef, pin: &Pinned) -> Result<ImageConfig, LaunchError> {
        let found = self.shared.deps.images.config(pin.digest);
        found.map_err(|error| LaunchError::ImageConfig {
            image: image.to_string(),
            reason: report(&error),
        })
    }

    /// Where programs find the API's socket, see [`door_dir`].
    fn door(&self) -> MountEntry {
        MountEntry {
            source: door_dir(
                &self.shared.config.data_dir,
                self.machine.identity.machine_id,
            ),
            guest_path: DOOR.to_owned(),
            read_only: true,
        }
    }

    fn files(&self, files: &[FileSpec]) -> Result<Vec<FileEntry>, LaunchError> {
        files.iter().map(|file| self.file(file)).collect()
    }

    fn file(&self, file: &FileSpec) -> Result<FileEntry, LaunchError> {
        let content = match &file.content {
            FileContent::Bytes(bytes) => Some(bytes.clone()),
            FileContent::Absent => None,
            FileContent::Secret(name) => Some(self.secret_bytes(&file.guest_path, name)?),
            FileContent::ImageConfig(image) => Some(self.image_config(image)?),
        };
        Ok(FileEntry {
            guest_path: file.guest_path.clone(),
            content,
            mode: file.mode.unwrap_or(FILE_MODE_DEFAULT),
        })
    }

    fn secret_bytes(&self, path: &str, name: &str) -> Result<Vec<u8>, LaunchError> {
        let secret = self.machine.version.secrets.get(name);
        let secret = secret.ok_or_else(|| LaunchError::NoSecret {
            path: path.to_owned(),
            secret: name.to_owned(),
        })?;
        STANDARD
            .decode(secret.reveal().trim())
            .map_err(|_| LaunchError::SecretEncoding {
                path: path.to_owned(),
                secret: name.to_owned(),
            })
    }

    /// The image's configuration as JSON in the shape of the OCI image specification.
    fn image_config(&self, image: &ImageRef) -> Result<Vec<u8>, LaunchError> {
        let unknown = || LaunchError::ImageConfig {
            image: image.to_string(),
            reason: "the image is not on this host".to_owned(),
        };
        let digest = image.digest().ok_or_else(unknown)?;
        let found = self.shared.deps.images.config(digest);
        let config = found.map_err(|_| unknown())?;
        let env: Vec<String> = config
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let json = serde_json::json!({
            "architecture": config.architecture,
            "os": config.os,
            "config": {
                "User": config.user,
                "Env": env,
                "Entrypoint": config.entrypoint,
                "Cmd": config.cmd,
                "WorkingDir": config.workdir,
                "Labels": config.labels,
                "StopSignal": config.stop_signal,
            },
        });
        Ok(json.to_string().into_bytes())
    }
}

fn defaults(config: &ImageConfig) -> ImageDefaults {
    ImageDefaults {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        user: config.user.clone(),
        workdir: config.workdir.clone(),
    }
}

fn or_if_empty(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}

fn restart_rule(policy: RestartPolicy) -> RestartRule {
    match policy.mode {
        RestartMode::No => RestartRule::Never,
        RestartMode::OnFailure => RestartRule::OnFailure {
            max_retries: policy.limit().unwrap_or(u32::MAX),
        },
        RestartMode::Always => RestartRule::Always,
    }
}

/// Where builders find what outlives their stops: what container tools keep their images in.
const BUILDER_KEPT_AT: &str = "/var/lib/containers";

/// Ids of the host that no package and no user has: those meant for containers, see
/// <https://systemd.io/UIDS-GIDS/>.
const SANDBOX_IDS_FIRST: u32 = 0x1000_0000;
const SANDBOX_IDS: u32 = 1 << 16;
const SANDBOXES: u32 = 0x6000;

/// The same at every start, since files keep their owners. Two machines may share ids; neither sees the other's files.
fn sandbox(rights: Rights, machine: MachineId) -> Option<Sandbox> {
    if rights == Rights::Ordinary {
        return None;
    }
    let number = machine.as_str().bytes().fold(0_u32, |number, byte| {
        number.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    Some(Sandbox {
        first_id: SANDBOX_IDS_FIRST + number % SANDBOXES * SANDBOX_IDS,
        ids: SANDBOX_IDS,
        kept_at: BUILDER_KEPT_AT.to_owned(),
    })
}

fn volume(mount: &MountSpec) -> VolumeLaunch {
    VolumeLaunch {
        volume_id: mount.volume,
        image: std::path::PathBuf::new(),
        guest_path: mount.path.clone(),
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The driver puts the paths in.
fn unset_root() -> RootLaunch {
    RootLaunch {
        lower: Vec::new(),
        upper: std::path::PathBuf::new(),
        work: std::path::PathBuf::new(),
        disk_image: None,
    }
}

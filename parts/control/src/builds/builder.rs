//! The builder machine of an organization: made once, woken when it sleeps.

use std::sync::Arc;
use std::time::Duration;

use mayfly_builder::{AssembleError, assemble, image_name};
use mayfly_control_store::{App, AppFilter, BUILDER, By, Machine, NewApp, Org, StoreError};
use mayfly_host_api::{HostError, ImageInfo, ImageSource};
use mayfly_machine::{Actor, MachineState, Rights};
use mayfly_runtime::report;
use mayfly_types::{AppId, ImageRef};
use serde_json::json;
use serde_json::value::to_raw_value;

use crate::access::Allowance;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::given_name::given_name;
use crate::machines::create::Order;
use crate::machines::prepare::WrittenConfig;
use crate::machines::update::Change;
use crate::secrets::SecretsWish;
use crate::volumes::VolumeChoice;

/// How long a builder may take to start.
const START_PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);
const NAMES_TRIED: usize = 8;

/// Why there is no builder.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuilderError {
    #[error(
        "this server cannot make the image of builder machines ({reason}). Make it on a server of Debian with \
         parts/builder/assets/make-image and take it in with `image import`, as {image}"
    )]
    NoImage { image: ImageRef, reason: String },
    #[error("{0}")]
    Refused(String),
    #[error("use the control store")]
    Store(#[from] StoreError),
    #[error("ask the host")]
    Host(#[from] HostError),
    #[error("builder machine {0}")]
    NotStarted(String),
    #[error("write the builder's image")]
    Io(#[from] std::io::Error),
}

impl From<ApiError> for BuilderError {
    fn from(error: ApiError) -> Self {
        BuilderError::Refused(error.text().to_owned())
    }
}

impl Cloud {
    /// The builder of an organization, running. `say` hears what takes its time.
    pub(super) async fn builder(
        self: &Arc<Self>,
        org: &Org,
        by: &By,
        say: &mut (dyn FnMut(String) + Send),
    ) -> Result<Machine, BuilderError> {
        let _one = self.builds.preparing.lock().await;
        let image = self.builder_image(say).await?;
        let app = self.builder_app(org, by).await?;
        let mut found = None;
        for machine in self.machines_of(&app, false).await? {
            match machine.spec.rights == Rights::Builder && found.is_none() {
                true => found = Some(machine),
                // Somebody made it, or changed what it runs.
                false => self.destroy_machine(&machine, true, by).await.map(drop)?,
            }
        }
        let machine = match found {
            Some(machine) if machine.image.digest() == Some(image.digest) => machine,
            Some(machine) => {
                say(format!(
                    "Bringing builder machine {} to the newest version",
                    machine.id
                ));
                self.renew_builder(&app, machine, &image, by).await?
            }
            None => {
                say(format!("Making builder machine of {}", app.name));
                self.make_builder(&app, &image, by).await?
            }
        };
        self.wake(machine, say).await
    }

    async fn wake(
        &self,
        machine: Machine,
        say: &mut (dyn FnMut(String) + Send),
    ) -> Result<Machine, BuilderError> {
        let host = self.host_of(&machine)?;
        let begun = tokio::time::Instant::now();
        let mut asked = false;
        loop {
            let report = host.report(machine.id).await?;
            match report.state {
                MachineState::Started => return Ok(machine),
                MachineState::Failed | MachineState::LaunchFailed if asked => {
                    let why = report.failure.unwrap_or_else(|| "it ended".to_owned());
                    return Err(BuilderError::NotStarted(format!("{}: {why}", machine.id)));
                }
                MachineState::Stopped
                | MachineState::Suspended
                | MachineState::Created
                | MachineState::Failed
                | MachineState::LaunchFailed => {
                    if !asked {
                        say(format!("Waking builder machine {}", machine.id));
                    }
                    host.start(machine.id, Actor::Platform).await?;
                    asked = true;
                }
                _ => {}
            }
            if begun.elapsed() > START_PATIENCE {
                let state = report.state;
                return Err(BuilderError::NotStarted(format!(
                    "{} is {state} after {} s",
                    machine.id,
                    START_PATIENCE.as_secs()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn builder_app(&self, org: &Org, by: &By) -> Result<App, BuilderError> {
        let filter = AppFilter {
            orgs: Some(vec![org.id]),
            role: Some(BUILDER.to_owned()),
        };
        if let Some(app) = self.store.apps(filter).await?.into_iter().next() {
            return Ok(app);
        }
        let mut tried = 0;
        loop {
            let name = format!("fly-builder-{}", given_name(self.entropy.as_ref()));
            let new = NewApp {
                id: AppId::from_random(self.entropy.bytes()),
                name: name
                    .parse()
                    .map_err(|_| BuilderError::Refused(format!("name an app {name}")))?,
                org_id: org.id,
                // A network of its own: what is built reaches nothing of the organization.
                network: Some(name),
                role: BUILDER.to_owned(),
                expires_at: None,
            };
            match self.store.create_app_once(new, None, by.clone()).await {
                Err(StoreError::Taken { .. }) if tried < NAMES_TRIED => tried += 1,
                made => return Ok(made?),
            }
        }
    }

    async fn make_builder(
        self: &Arc<Self>,
        app: &App,
        image: &ImageInfo,
        by: &By,
    ) -> Result<Machine, BuilderError> {
        let order = Order {
            app: app.clone(),
            config: Some(self.builder_config(image)),
            name: None,
            region: None,
            volumes: VolumeChoice::Free,
            skip_launch: false,
            cordoned: false,
            secrets: SecretsWish::default(),
            lease_ttl: None,
            owner: app.name.to_string(),
            idempotency: None,
            rights: Rights::Builder,
            allowance: Allowance::unlimited(),
            id: None,
            by: by.clone(),
        };
        let cloud = self.clone();
        // To its end also if nobody waits any more: it is found again.
        let made = self.finish(Box::pin(order.carry_out(cloud))).await?;
        Ok(made.0)
    }

    /// Has a builder of another version run this one, on the same disk: its cache stays.
    async fn renew_builder(
        self: &Arc<Self>,
        app: &App,
        machine: Machine,
        image: &ImageInfo,
        by: &By,
    ) -> Result<Machine, BuilderError> {
        let change = Change {
            app: app.clone(),
            expected: Some(machine.instance_id),
            machine,
            config: Some(self.builder_config(image)),
            secrets: SecretsWish::default(),
            nonce: None,
            skip_launch: false,
            rights: Rights::Builder,
            allowance: Allowance::unlimited(),
            by: by.clone(),
        };
        let cloud = self.clone();
        Ok(self.finish(Box::pin(change.carry_out(cloud))).await?)
    }

    fn builder_config(&self, image: &ImageInfo) -> WrittenConfig {
        let settings = &self.settings.builder;
        let config = json!({
            "image": image.image.to_string(),
            "guest": {
                "cpu_kind": "performance",
                "cpus": settings.cpus,
                "memory_mb": settings.memory_mib,
            },
            "rootfs": { "persist": "always", "size_gb": settings.disk_gib },
            "restart": { "policy": "no" },
            "env": { "BUILDER_IDLE_SECONDS": settings.idle.as_secs().to_string() },
        });
        let letter = to_raw_value(&config).expect("a value is JSON");
        (config, letter)
    }

    /// The image of builders; made of this server's packages if it is not there.
    async fn builder_image(
        &self,
        say: &mut (dyn FnMut(String) + Send),
    ) -> Result<ImageInfo, BuilderError> {
        let wanted = image_name();
        let stores: Vec<_> = self.hosts.image_stores().into_iter().collect();
        for member in stores.iter().filter(|member| member.is_local) {
            let images = member.api.images().await?;
            // One that had the name before shows it still: the host knows which has it now.
            if images.iter().any(|info| is_of(info, &wanted))
                && let Ok(found) = member.api.resolve_image(&wanted, None).await
            {
                return Ok(found);
            }
        }
        say("Making the image of builder machines; this is done once".to_owned());
        let name = self
            .entropy
            .bytes::<8>()
            .map(|byte| format!("{byte:02x}"))
            .concat();
        let directory = Scratch(self.settings.uploads.join(format!("builder-{name}")));
        tokio::fs::create_dir(&directory.0).await?;
        let made = assemble(&directory.0, |line| say(line.to_owned())).await;
        let archive = made.map_err(|error| match error {
            AssembleError::Failed(reason) => BuilderError::NoImage {
                image: wanted.clone(),
                reason,
            },
            error => BuilderError::Refused(report(&error)),
        })?;
        let source = ImageSource {
            path: archive,
            name: Some(wanted.clone()),
        };
        let mut images = Vec::new();
        for member in stores.iter().filter(|member| member.is_local) {
            images = member.api.import_image(source.clone()).await?;
        }
        let found = images.into_iter().next();
        found.ok_or_else(|| BuilderError::Refused("the builder's image holds nothing".to_owned()))
    }
}

fn is_of(info: &ImageInfo, wanted: &ImageRef) -> bool {
    let of = |image: &ImageRef| {
        let tag = image.tag().map(str::to_owned);
        (
            image.registry().to_owned(),
            image.repository().to_owned(),
            tag,
        )
    };
    of(&info.image) == of(wanted)
}

/// A directory that goes with this.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(error = %error, "a directory of the builder's image stays until the next start");
        }
    }
}

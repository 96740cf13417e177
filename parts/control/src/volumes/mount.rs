use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use mayfly_control_store::{App, By, Machine, MachineFilter, StoreError, Volume};
use mayfly_types::{HostId, Region, VolumeId};
use mayfly_wire::{MachineConfig, Mount, read_value};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::make::Apart;
use super::{VolumeChoice, VolumeWish, check_name, size_gb};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::machines::prepare::WrittenConfig;
use crate::placement::Placed;

/// The mount of a configuration: a volume by id, or any that is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedMount {
    volume: Option<VolumeId>,
    name: String,
    size_gb: Option<u32>,
}

/// Where a volume may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Within<'a> {
    pub(crate) region: Option<&'a Region>,
    pub(crate) host: Option<HostId>,
}

/// The volume that a new machine gets.
pub(crate) struct Mounted {
    pub(crate) volume: Volume,
    /// Made for this machine: without it nobody wants it.
    pub(crate) is_new: bool,
    /// It was not asked for by id: another is as good.
    pub(crate) is_chosen: bool,
    /// With the volume's id.
    pub(crate) config: WrittenConfig,
}

impl WantedMount {
    /// `None` for a configuration without mounts.
    ///
    /// # Errors
    /// The first field of the configuration that breaks a rule.
    pub(crate) fn of(config: &WrittenConfig) -> Result<Option<Self>, ApiError> {
        let mounts = config.0.get("mounts").filter(|mounts| !mounts.is_null());
        if mounts.is_none_or(|mounts| mounts.as_array().is_some_and(Vec::is_empty)) {
            return Ok(None);
        }
        let config: MachineConfig =
            read_value(&config.0).map_err(|error| error.inside("config"))?;
        let spec = config.check()?;
        let mount: Mount = config
            .mounts
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_default();
        let size = mount.size_gb.filter(|size| *size != 0);
        Ok(Some(Self {
            volume: spec.mounts.first().map(|mount| mount.volume),
            name: mount.name.unwrap_or_default(),
            size_gb: size
                .map(|size| size_gb("config.mounts[0].size_gb", size))
                .transpose()?,
        }))
    }

    /// A machine that has a volume of this name keeps it.
    pub(crate) fn kept_by(self, machine: &Machine) -> Self {
        let has = machine.spec.mounts.first().map(|mount| mount.volume);
        let is_same = self.volume.is_none() && name_of(machine).as_deref() == Some(&self.name);
        Self {
            volume: self.volume.or(has.filter(|_| is_same)),
            ..self
        }
    }
}

/// What the volume of a machine is called.
pub(crate) fn name_of(machine: &Machine) -> Option<String> {
    let config: Value = serde_json::from_str(machine.config.get()).ok()?;
    let name = config["mounts"][0]["name"].as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

impl Cloud {
    /// Finds the volume of a mount, or makes it.
    ///
    /// # Errors
    /// 422 for a volume that the app does not have, or not there; 409 for one that another machine has.
    pub(crate) async fn mount(
        self: &Arc<Self>,
        app: &App,
        wanted: &WantedMount,
        config: WrittenConfig,
        within: Within<'_>,
        choice: &VolumeChoice,
        by: &By,
    ) -> Result<Mounted, ApiError> {
        let (volume, is_new) = match wanted.volume {
            Some(id) => (self.named_volume(app, id, within).await?, false),
            None => self.chosen_volume(app, wanted, within, choice, by).await?,
        };
        Ok(Mounted {
            config: with_volume(config, &volume),
            is_new,
            is_chosen: wanted.volume.is_none(),
            volume,
        })
    }

    /// The host of a volume, for a machine that has it.
    ///
    /// # Errors
    /// 503 if that host takes no new machines.
    pub(crate) async fn place_at(&self, volume: &Volume) -> Result<Placed, ApiError> {
        let (members, _) = self.open_in(&volume.region).await?;
        if members.iter().any(|member| member.id == volume.host_id) {
            return Ok(Placed {
                host: volume.host_id,
                reason: format!("its volume {} is there", volume.id),
            });
        }
        Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "could not reserve resource for machine: volume {} is on host {} (region {}), which takes no new machines",
                volume.id, volume.host_id, volume.region
            ),
        )
        .coded("insufficient_capacity"))
    }

    async fn named_volume(
        &self,
        app: &App,
        id: VolumeId,
        within: Within<'_>,
    ) -> Result<Volume, ApiError> {
        let field = "config.mounts[0].volume";
        let volume = match self.store.volume(id).await {
            Ok(volume) if volume.app_id == app.id => volume,
            Ok(_) | Err(StoreError::NotFound { .. }) => {
                return Err(ApiError::invalid(format!(
                    "{field}: volume {id} was not found in app {}",
                    app.name
                )));
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(region) = within.region.filter(|region| **region != volume.region) {
            return Err(ApiError::invalid(format!(
                "{field}: volume {id} was not found in region {region}: it is in {}, and a machine runs where its volume is",
                volume.region
            )));
        }
        if within.host.is_some_and(|host| host != volume.host_id) {
            return Err(ApiError::invalid(format!(
                "{field}: volume {id} is on host {}, and the machine on another: make a new machine with the volume",
                volume.host_id
            )));
        }
        Ok(volume)
    }

    async fn chosen_volume(
        self: &Arc<Self>,
        app: &App,
        wanted: &WantedMount,
        within: Within<'_>,
        choice: &VolumeChoice,
        by: &By,
    ) -> Result<(Volume, bool), ApiError> {
        let name = wanted.name.as_str();
        check_name("config.mounts[0].name", name)?;
        let asked = wanted.size_gb.map(VolumeWish::of_size);
        let new_one = choice.new_one().or(asked.as_ref());
        let namesakes: Vec<Volume> = {
            let volumes = self.volumes_of(app).await?.into_iter();
            volumes.filter(|volume| volume.name == name).collect()
        };
        if !matches!(choice, VolumeChoice::New(_)) {
            let fits = |volume: &&Volume| {
                volume.is_free()
                    && within.region.is_none_or(|region| *region == volume.region)
                    && within.host.is_none_or(|host| host == volume.host_id)
            };
            let free: Vec<&Volume> = namesakes.iter().filter(fits).collect();
            if let Some(best) = self.best_of(app, free).await? {
                return Ok((best, false));
            }
        }
        if let Some(wish) = new_one.filter(|_| within.host.is_none()) {
            let default = self.regions().default_region().clone();
            let region = within.region.unwrap_or(&default);
            let volume = self.make_volume(app, name, region, wish, Apart::FromNamesakes, by);
            return Ok((volume.await?, true));
        }
        let place = match (within.host, within.region) {
            (Some(host), _) => format!(" on host {host}"),
            (None, Some(region)) => format!(" in region {region}"),
            (None, None) => String::new(),
        };
        let there: BTreeSet<String> = namesakes
            .iter()
            .filter(|volume| volume.is_free())
            .map(|volume| format!("{} in {}", volume.id, volume.region))
            .collect();
        let others = match there.is_empty() {
            true => String::new(),
            false => format!(
                " (free elsewhere: {})",
                there.into_iter().collect::<Vec<_>>().join(", ")
            ),
        };
        Err(ApiError::invalid(format!(
            "config.mounts[0].name: app {} has no free volume \"{name}\"{place}{others}: create one, or give size_gb",
            app.name
        )))
    }

    /// The free volume whose host suits a machine of the app best.
    async fn best_of(&self, app: &App, free: Vec<&Volume>) -> Result<Option<Volume>, ApiError> {
        if let [] | [_] = free.as_slice() {
            return Ok(free.first().map(|volume| (*volume).clone()));
        }
        let filter = MachineFilter {
            app: Some(app.id),
            ..MachineFilter::default()
        };
        let machines = self.store.machines(filter).await?;
        let hosts = self.store.hosts().await?;
        let is_cordoned = |id: HostId| {
            let mut known = hosts.iter().filter(|host| host.id == id);
            known.any(|host| host.cordoned_at.is_some())
        };
        let best = free.into_iter().min_by_key(|volume| {
            let beside = machines.iter().filter(|one| one.host_id == volume.host_id);
            (
                is_cordoned(volume.host_id),
                beside.count(),
                volume.created_at,
                volume.id,
            )
        });
        Ok(best.cloned())
    }
}

/// The configuration with the id and the name of its volume; nothing changes if it has them.
fn with_volume(config: WrittenConfig, volume: &Volume) -> WrittenConfig {
    let (mut value, letter) = config;
    let mount = &mut value["mounts"][0];
    if mount["volume"] == volume.id.as_str() && mount["name"] == volume.name.as_str() {
        return (value, letter);
    }
    mount["volume"] = volume.id.as_str().into();
    mount["name"] = volume.name.as_str().into();
    let letter = to_raw_value(&value).expect("a value is JSON");
    (value, letter)
}

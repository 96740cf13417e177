//! The volumes of the machines that a release makes.

use std::collections::BTreeMap;

use mayfly_appconfig::{AppConfig, Mount};
use mayfly_control_store::{App, Machine, NewRelease, Release, Volume};
use mayfly_deploy::Strategy;
use mayfly_types::Region;
use mayfly_wire::MachineConfig;

use super::api::app_config;
use super::content::group_of;
use super::machines::is_managed;
use super::options::Options;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::volumes::{VolumeChoice, VolumeWish, check_name, name_of, size_gb};

/// Whether a machine cannot get this configuration in place: its volume would be another, none, or its first.
pub(super) fn changes_volume(config: &AppConfig, machine: &Machine) -> bool {
    let wanted = config.mount(&group_of(machine));
    let wanted = wanted.and_then(|mount| mount.source.as_deref());
    let has_one = !machine.spec.mounts.is_empty();
    match wanted {
        None => has_one,
        Some(name) => !has_one || name_of(machine).as_deref() != Some(name),
    }
}

/// The mounts without the ids of their volumes: a machine like another has a volume like its.
pub(super) fn forget_volumes(machine: &mut MachineConfig) {
    for mount in machine.mounts.iter_mut().flatten() {
        mount.volume = None;
        mount.size_gb = None;
    }
}

/// What the first deployment makes of a mount.
///
/// # Errors
/// 422 for sizes out of range.
pub(super) fn first_volume(
    mount: &Mount,
    initial_size_gb: Option<u32>,
) -> Result<VolumeWish, ApiError> {
    let size = match initial_size_gb {
        Some(size) => size,
        None => size_gb("config.mounts.initial_size", mount.initial_size_gb())?,
    };
    Ok(VolumeWish {
        snapshot_retention: mount.snapshot_retention,
        scheduled_snapshots: mount.scheduled_snapshots,
        ..VolumeWish::of_size(size)
    })
}

/// What has to be free for a release: volumes of a name in a region, and for which group.
type Needs = BTreeMap<(String, Region), (String, usize)>;

impl Cloud {
    /// Holds that a release finds the volumes that its mounts name.
    ///
    /// # Errors
    /// 422 for a strategy that would need more of them, for names and sizes against the rules, and for volumes that are
    /// missing.
    pub(super) async fn check_volumes(
        &self,
        new: &NewRelease,
        options: &Options,
    ) -> Result<(), ApiError> {
        let config = new.config.as_ref().filter(|_| !options.keep_config);
        let Some(config) = config.map(app_config).transpose()? else {
            return Ok(());
        };
        let mounts: Vec<(&str, &Mount)> = config
            .groups()
            .into_iter()
            .filter_map(|group| Some((group, config.mount(group)?)))
            .collect();
        if mounts.is_empty() {
            return Ok(());
        }
        let strategy = options.strategy();
        if matches!(strategy, Strategy::BlueGreen | Strategy::Canary) {
            return Err(ApiError::invalid(format!(
                "strategy {strategy} is not possible with mounts: a new machine beside an old one would need its volume. Use rolling or immediate"
            )));
        }
        for (_, mount) in &mounts {
            check_name(
                "config.mounts.source",
                mount.source.as_deref().unwrap_or_default(),
            )?;
            first_volume(mount, options.volume_initial_size)?;
        }
        let app = self.store.app_by_id(new.app_id).await?;
        let mut machines = self.machines_of(&app, false).await?;
        machines.retain(is_managed);
        let mut needs = Needs::new();
        for (group, mount) in mounts {
            let name = mount.source.clone().unwrap_or_default();
            for region in self.places_without(&config, options, group, &machines)? {
                let entry = needs.entry((name.clone(), region));
                entry.or_insert_with(|| (group.to_owned(), 0)).1 += 1;
            }
        }
        if options.makes_volumes {
            return Ok(());
        }
        let volumes = self.volumes_of(&app).await?;
        lacking(&needs, &volumes)
    }

    /// Where machines of a group need a volume that they do not have.
    fn places_without(
        &self,
        config: &AppConfig,
        options: &Options,
        group: &str,
        machines: &[Machine],
    ) -> Result<Vec<Region>, ApiError> {
        let of_group: Vec<&Machine> = machines
            .iter()
            .filter(|machine| group_of(machine) == group && machine.spec.standbys.is_empty())
            .collect();
        let concerned = of_group.iter().filter(|machine| {
            options.concerns(machine.id.as_str(), machine.region.as_str(), group)
        });
        let replaced = concerned.filter(|machine| changes_volume(config, machine));
        let mut places: Vec<Region> = replaced.map(|machine| machine.region.clone()).collect();
        if !options.fills(group) {
            return Ok(places);
        }
        let elsewhere = options.regions.iter();
        let elsewhere =
            elsewhere.filter(|region| of_group.iter().all(|machine| machine.region != **region));
        places.extend(elsewhere.cloned());
        if of_group.is_empty() && options.regions.is_empty() {
            let primary = self.primary_region(Some(config));
            places.push(
                primary
                    .map_err(|text| ApiError::invalid(format!("config.primary_region: {text}")))?,
            );
        }
        Ok(places)
    }

    /// How many volumes are free for further machines of a group in a region; `None` for a group without mounts.
    pub(super) async fn volumes_for(
        &self,
        app: &App,
        release: &Release,
        machines: &[Machine],
        group: &str,
        region: &Region,
    ) -> Result<Option<usize>, ApiError> {
        let mut of_group = machines.iter().filter(|machine| group_of(machine) == group);
        let name = match of_group.find_map(name_of) {
            Some(name) => Some(name),
            None => {
                let config = release.config.as_ref().map(app_config).transpose()?;
                config.and_then(|config| config.mount(group)?.source.clone())
            }
        };
        let Some(name) = name else {
            return Ok(None);
        };
        let volumes = self.volumes_of(app).await?;
        let free = volumes
            .iter()
            .filter(|one| one.is_free() && one.name == name && one.region == *region);
        Ok(Some(free.count()))
    }

    /// Which volume a further machine of a group gets: a free one, or a new one as large as those that are there.
    pub(super) async fn further_volume(
        &self,
        app: &App,
        config: Option<&AppConfig>,
        machine: &MachineConfig,
        group: &str,
        is_new: bool,
    ) -> Result<VolumeChoice, ApiError> {
        let mut mounts = machine.mounts.iter().flatten();
        let Some(name) = mounts.next().and_then(|mount| mount.name.as_deref()) else {
            return Ok(VolumeChoice::Free);
        };
        let volumes = self.volumes_of(app).await?;
        let like = volumes
            .iter()
            .filter(|volume| volume.name == name && volume.destroy_at.is_none())
            .max_by_key(|volume| (volume.machine_id.is_some(), volume.size_gb));
        let mount = config.and_then(|config| config.mount(group));
        let wish = match (like, mount) {
            (Some(like), _) => VolumeWish {
                snapshot_retention: Some(like.snapshot_retention),
                scheduled_snapshots: Some(like.scheduled_snapshots),
                ..VolumeWish::of_size(like.size_gb)
            },
            (None, Some(mount)) => first_volume(mount, None)?,
            (None, None) => VolumeWish::of_size(1),
        };
        Ok(match is_new {
            true => VolumeChoice::New(wish),
            false => VolumeChoice::FreeOrNew(wish),
        })
    }
}

/// The text by which flyctl's users know this, with the command that helps.
fn lacking(needs: &Needs, volumes: &[Volume]) -> Result<(), ApiError> {
    let mut missing: BTreeMap<&str, Vec<(&Region, usize)>> = BTreeMap::new();
    let mut groups: BTreeMap<&str, &str> = BTreeMap::new();
    for ((name, region), (group, count)) in needs {
        let free = volumes
            .iter()
            .filter(|volume| volume.is_free() && volume.name == *name && volume.region == *region);
        let lacks = count.saturating_sub(free.count());
        if lacks > 0 {
            missing.entry(name).or_default().push((region, lacks));
            groups.entry(name).or_insert(group);
        }
    }
    let said: Vec<String> = missing
        .iter()
        .map(|(name, places)| {
            let counts = places.iter().map(|(region, count)| format!("{region}={count}"));
            format!(
                "Process group '{}' needs volumes with name '{name}' to fulfill mounts defined in fly.toml; run `volumes create {name} -r REGION -n COUNT` for the following regions and counts: {}",
                groups[name],
                counts.collect::<Vec<_>>().join(" ")
            )
        })
        .collect();
    match said.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(said.join("\n"))),
    }
}

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mayfly_appconfig::AppConfig;
use mayfly_control_store::{App, Machine, Release, ReleaseStatus};
use mayfly_deploy::{Readiness, Stage, Step, Strategy, Turn, next, scale};
use mayfly_host_api::StopMachine;
use mayfly_machine::{Actor, MachineState, Rights};
use mayfly_runtime::report;
use mayfly_types::{MachineId, Timestamp};
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use super::api::app_config;
use super::command::look;
use super::content::{Content, group_of, written};
use super::error::StepError;
use super::machine_checks::{MachineChecks, clear};
use super::machines::{Fleet, runs};
use super::make::Made;
use super::one_off::Outcome;
use super::options::Options;
use super::volumes::first_volume;
use crate::access::Allowance;
use crate::cloud::Cloud;
use crate::machines::prepare::WrittenConfig;
use crate::machines::update::Change;
use crate::volumes::VolumeChoice;

const COMMAND: &str = "release_command";
/// How long old machines finish what they have begun once new ones take the requests: as flyctl waits before it stops
/// them. What takes longer has the machine's own `kill_timeout` beyond that.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// Only the number of machines changes.
const SCALE: &str = "scale";

/// What is remembered from one turn to the next; nothing is lost without it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Machines of which those who follow know that they are up.
    told: BTreeSet<MachineId>,
    /// Since when no step could be taken.
    failing_since: Option<Timestamp>,
    /// Since when old machines get nothing new.
    draining_since: Option<Timestamp>,
    /// How long the last look at the machines took.
    pub(super) look_took: Duration,
}

/// One release under way.
pub(super) struct Deployment<'a> {
    cloud: &'a Arc<Cloud>,
    release: &'a Release,
    app: App,
    options: Options,
    config: Option<AppConfig>,
}

impl<'a> Deployment<'a> {
    async fn open(cloud: &'a Arc<Cloud>, release: &'a Release) -> Result<Self, StepError> {
        let app = cloud.store.app(release.app_name.clone()).await?;
        let options: Options = serde_json::from_value(release.options.clone()).unwrap_or_default();
        let config = match &release.config {
            Some(config) if !options.keep_config || !options.scale.is_empty() => {
                Some(app_config(config)?)
            }
            _ => None,
        };
        Ok(Self {
            cloud,
            release,
            app,
            options,
            config,
        })
    }

    /// Looks at the machines and does what is next. What cannot be done is tried again in the next turn, for as long as
    /// one machine may take to be up; then the release fails.
    pub(super) async fn turn(
        cloud: &'a Arc<Cloud>,
        release: &'a Release,
        progress: &mut Progress,
    ) -> Result<(), StepError> {
        let deployment = match Deployment::open(cloud, release).await {
            Err(StepError::Refused(reason)) => {
                let (status, by) = (ReleaseStatus::Failed, cloud.by_platform());
                let store = &cloud.store;
                store
                    .finish_release(release.id, status, Some(reason), by)
                    .await?;
                return Ok(());
            }
            opened => opened?,
        };
        match deployment.advance(progress).await {
            Ok(()) => {
                progress.failing_since = None;
                Ok(())
            }
            Err(StepError::Refused(reason)) => deployment.fail(reason).await,
            Err(StepError::Content(error)) => deployment.fail(report(&error)).await,
            Err(error) => {
                let since = *progress.failing_since.get_or_insert(cloud.now());
                if cloud.now().since(since) < deployment.options.rules().wait_timeout {
                    return Err(error);
                }
                deployment.fail(report(&error)).await
            }
        }
    }

    fn content(&self) -> Content<'_> {
        Content {
            release: self.release,
            config: self.config.as_ref().filter(|_| !self.options.keep_config),
            guest: self.options.guest.as_ref(),
            first_guest: self.options.first_guest,
            copies: self.options.moves_to.is_some(),
        }
    }

    fn machine_checks(&self) -> MachineChecks<'_> {
        MachineChecks {
            cloud: self.cloud,
            app: &self.app,
            release: self.release,
            content: self.content(),
            options: &self.options,
        }
    }

    async fn advance(&self, progress: &mut Progress) -> Result<(), StepError> {
        match self.release.stage.as_str() {
            "" => {
                info!(app = %self.app.name, release = self.release.number, "release begins");
                let store = &self.cloud.store;
                if self.options.inherits {
                    let inherited = store.inherit_content(self.release.id).await?;
                    if let Some(change) = &self.options.concurrency {
                        let config = inherited.config.as_ref().map(app_config).transpose()?;
                        let config = change.apply(config.unwrap_or_default())?;
                        store.set_release_config(self.release.id, config).await?;
                    }
                }
                match self.has_command() && !self.options.skip_release_command {
                    _ if !self.options.scale.is_empty() => self.set_stage(SCALE).await,
                    true => self.set_stage(COMMAND).await,
                    false => self.enter(self.first_stage()).await,
                }
            }
            COMMAND => {
                let content = self.content();
                let command = look(self.cloud, &self.app, self.release, &content, &self.options);
                match command.await? {
                    Outcome::Running => Ok(()),
                    Outcome::Done => self.enter(self.first_stage()).await,
                    Outcome::Failed(reason) => self.fail(reason).await,
                }
            }
            SCALE => self.scale(&mut progress.told).await,
            _ => self.roll(self.stage(), progress).await,
        }
    }

    fn has_command(&self) -> bool {
        let deploy = self
            .config
            .as_ref()
            .and_then(|config| config.deploy.as_ref());
        deploy
            .and_then(|deploy| deploy.release_command.as_deref())
            .is_some_and(|command| !command.trim().is_empty())
    }

    /// How far the machines are, once it is about them.
    fn stage(&self) -> Stage {
        serde_json::from_value(json!(self.release.stage)).unwrap_or(Stage::Machines)
    }

    fn first_stage(&self) -> Stage {
        match self.options.strategy() {
            Strategy::Canary => Stage::Canary,
            _ => Stage::Machines,
        }
    }

    async fn enter(&self, stage: Stage) -> Result<(), StepError> {
        let word = json!(stage);
        if let (Stage::Switch, Some(org)) = (stage, self.options.moves_to) {
            let (id, by) = (self.release.id, self.cloud.by_platform());
            let word = word.as_str().unwrap_or_default().to_owned();
            return Ok(self.cloud.store.move_app(id, org, word, by).await?);
        }
        self.set_stage(word.as_str().unwrap_or_default()).await
    }

    async fn set_stage(&self, stage: &str) -> Result<(), StepError> {
        let by = self.cloud.by_platform();
        self.cloud
            .store
            .set_release_stage(self.release.id, stage.to_owned(), by)
            .await?;
        Ok(())
    }

    async fn roll(&self, stage: Stage, progress: &mut Progress) -> Result<(), StepError> {
        let began = Instant::now();
        let mut fleet = Fleet::look(self.cloud, &self.app, self.release, &self.options).await?;
        progress.look_took = began.elapsed();
        if stage != Stage::Switch {
            let checks = self.machine_checks();
            checks.judge(&mut fleet, &progress.told).await?;
        }
        let content = self.content();
        if let Some(config) = content.config {
            fleet.mark_remounts(config);
        }
        self.follow(&fleet, &mut progress.told).await?;
        let home = || self.cloud.region_of(&content, None);
        let groups = fleet.groups(&content, &self.options, home)?;
        let mut rules = self.options.rules();
        if self.options.moves_to.is_some() && stage == Stage::Switch {
            // The app belongs to another organization now: there is no way back.
            rules.strategy = Strategy::Immediate;
        }
        let turn = next(&rules, &groups, &fleet.members, stage);
        if let Turn::Act(steps) = &turn
            && stage == Stage::Switch
            && self.drains(steps, &fleet, progress)
        {
            return Ok(());
        }
        self.do_turn(turn, &fleet).await
    }

    async fn scale(&self, told: &mut BTreeSet<MachineId>) -> Result<(), StepError> {
        let fleet = Fleet::look(self.cloud, &self.app, self.release, &self.options).await?;
        self.follow(&fleet, told).await?;
        let turn = scale(&self.options.scale, &fleet.counted());
        self.do_turn(turn, &fleet).await
    }

    async fn do_turn(&self, turn: Turn, fleet: &Fleet) -> Result<(), StepError> {
        match turn {
            Turn::Wait => Ok(()),
            Turn::Enter(stage) => self.enter(stage).await,
            Turn::Done => self.complete().await,
            Turn::Failed(reason) => self.fail(reason).await,
            Turn::Act(steps) => {
                let taken = join_all(steps.iter().map(|step| self.take(step, fleet))).await;
                taken.into_iter().collect()
            }
        }
    }

    /// Whether machines that are about to be stopped still finish what they have begun.
    fn drains(&self, steps: &[Step], fleet: &Fleet, progress: &mut Progress) -> bool {
        let serves = |step: &Step| match step {
            Step::Stop(id) => !fleet.machines[id].spec.services.is_empty(),
            _ => false,
        };
        if !steps.iter().any(serves) {
            // Those that took requests again drain anew.
            progress.draining_since = None;
            return false;
        }
        let now = self.cloud.now();
        now.since(*progress.draining_since.get_or_insert(now)) < DRAIN
    }

    /// Says which machines have come up, and keeps the leases of the others.
    async fn follow(&self, fleet: &Fleet, told: &mut BTreeSet<MachineId>) -> Result<(), StepError> {
        for member in &fleet.members {
            let machine = &fleet.machines[&member.id];
            match &member.release {
                Some(Readiness::Up) if told.insert(member.id) => {
                    self.cloud
                        .note(self.release, &format!("Machine {} is up", member.id))
                        .await?;
                    self.cloud.unlease(self.release, machine).await?;
                }
                Some(Readiness::Waiting) if !member.leased => {
                    self.cloud.lease_for(self.release, machine).await?
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn take(&self, step: &Step, fleet: &Fleet) -> Result<(), StepError> {
        let content = self.content();
        match step {
            Step::Create {
                group,
                region,
                number,
            } => {
                let number_said = number + 1;
                self.say(&format!(
                    "Creating machine {number_said} of group {group} in {region}"
                ))
                .await?;
                let config = written(&content.first(group, *number)?);
                let made = Made {
                    volumes: self.first_volume(group)?,
                    ..Made::open(region.clone())
                };
                self.make(config, format!("{group}-{number}"), made).await
            }
            Step::Settle { group, region } => {
                let Some(like) = fleet.like(group, region) else {
                    return Ok(());
                };
                self.say(&format!("Creating a machine of group {group} in {region}"))
                    .await?;
                let config = written(&content.settler(like)?);
                let closed = self.options.strategy() == Strategy::BlueGreen;
                let key = format!("settle-{group}-{region}");
                let made = Made {
                    cordoned: closed,
                    volumes: self.first_volume(group)?,
                    ..Made::open(region.clone())
                };
                self.make(config, key, made).await
            }
            Step::Add {
                group,
                region,
                number,
            } => {
                self.say(&format!("Creating a machine of group {group} in {region}"))
                    .await?;
                let content = Content {
                    config: self.config.as_ref(),
                    ..content
                };
                let like = fleet.like(group, region);
                let config = content.further(group, like, &self.options.scale_env)?;
                let is_new = self.options.with_new_volumes;
                let volumes = self
                    .cloud
                    .further_volume(&self.app, content.config, &config, group, is_new)
                    .await?;
                let key = format!("scale-{group}-{region}-{number}");
                let made = Made {
                    volumes,
                    ..Made::open(region.clone())
                };
                self.make(written(&config), key, made).await
            }
            Step::Replace(old) => {
                let old = &fleet.machines[old];
                self.say(&format!(
                    "Creating the machine that replaces {}: its volume is another",
                    old.id
                ))
                .await?;
                let config = written(&content.replacement(old)?);
                let made = Made {
                    rests: !runs(old.state),
                    volumes: self.first_volume(&group_of(old))?,
                    ..Made::open(old.region.clone())
                };
                self.make(config, format!("replace-{}", old.id), made).await
            }
            Step::CreateStandby { group, of } => {
                self.say(&format!("Creating a standby for machine {of}"))
                    .await?;
                let config = written(&content.standby(group, *of)?);
                let region = fleet.machines[of].region.clone();
                let made = Made::open(region);
                self.make(config, format!("{group}-standby"), made).await
            }
            Step::CreateCanary { group } => {
                let like = fleet
                    .members
                    .iter()
                    .find(|member| member.group == *group && member.running && !member.made);
                let Some(like) = like.map(|member| &fleet.machines[&member.id]) else {
                    return Ok(());
                };
                self.say(&format!("Creating a canary for group {group}"))
                    .await?;
                let config = written(&content.canary(like)?);
                let region = self.cloud.region_of(&content, Some(like))?;
                let made = Made::open(region);
                self.make(config, format!("{group}-canary"), made).await
            }
            Step::CreateGreen { blue } => {
                let blue = &fleet.machines[blue];
                self.say(&format!("Creating the machine that replaces {}", blue.id))
                    .await?;
                let rests = self.options.moves_to.is_some() && !runs(blue.state);
                let config = written(&content.green(blue, &fleet.greens())?);
                let region = self.cloud.region_of(&content, Some(blue))?;
                let made = Made {
                    region,
                    cordoned: true,
                    rests,
                    volumes: VolumeChoice::Free,
                };
                self.make(config, format!("green-{}", blue.id), made).await
            }
            Step::Update(id) => {
                let machine = &fleet.machines[id];
                let config = content.changed(machine)?;
                self.say(&format!("Updating machine {id}")).await?;
                self.cloud.lease_for(self.release, machine).await?;
                Change {
                    app: self.app.clone(),
                    machine: machine.clone(),
                    config: Some(written(&config)),
                    secrets: self.cloud.secrets_of(self.release),
                    expected: Some(machine.instance_id),
                    nonce: Some(self.cloud.release_nonce(self.release)),
                    skip_launch: !runs(machine.state),
                    rights: Rights::Ordinary,
                    allowance: Allowance::unlimited(),
                    by: self.cloud.by_platform(),
                }
                .carry_out(self.cloud.clone())
                .await?;
                Ok(())
            }
            Step::Cordon(id) => self.cordon(&fleet.machines[id], true).await,
            Step::Reopen(id) => {
                self.say(&format!(
                    "A new machine fails in traffic: machine {id} takes requests again"
                ))
                .await?;
                self.cordon(&fleet.machines[id], false).await
            }
            Step::Uncordon(id) => self.cordon(&fleet.machines[id], false).await,
            // It was asked, and has its own patience.
            Step::Stop(id) if fleet.machines[id].state == MachineState::Stopping => Ok(()),
            Step::Stop(id) => {
                let machine = &fleet.machines[id];
                let request = StopMachine {
                    signal: self.options.stop_signal,
                    ..StopMachine::by_rule(Actor::Platform)
                };
                self.cloud.host_of(machine)?.stop(*id, request).await?;
                Ok(())
            }
            Step::Destroy(id) if fleet.machines[id].state == MachineState::Destroying => Ok(()),
            Step::Destroy(id) => {
                self.say(&format!("Destroying machine {id}")).await?;
                let by = self.cloud.by_platform();
                self.cloud
                    .destroy_machine(&fleet.machines[id], true, &by)
                    .await?;
                Ok(())
            }
        }
    }

    /// Which volume a machine gets that is the first, or the first with one: only an app's first release makes any.
    fn first_volume(&self, group: &str) -> Result<VolumeChoice, StepError> {
        let mount = self.config.as_ref().and_then(|config| config.mount(group));
        match mount.filter(|_| self.options.makes_volumes) {
            None => Ok(VolumeChoice::Free),
            Some(mount) => {
                let wish = first_volume(mount, self.options.volume_initial_size)?;
                Ok(VolumeChoice::FreeOrNew(wish))
            }
        }
    }

    async fn make(&self, config: WrittenConfig, key: String, made: Made) -> Result<(), StepError> {
        let by = self.cloud.by_platform();
        let app = match self.options.moves_to {
            Some(org) => &self.cloud.store.app_in(self.app.clone(), org, by).await?,
            None => &self.app,
        };
        let machine = self
            .cloud
            .make(app, self.release, config, key, made)
            .await?;
        match machine.destroyed_at {
            None => Ok(()),
            // It is not made again under its key.
            Some(_) => Err(StepError::Refused(format!(
                "machine {} was destroyed before it was up",
                machine.id
            ))),
        }
    }

    async fn cordon(&self, machine: &Machine, cordoned: bool) -> Result<(), StepError> {
        let host = self.cloud.host_of(machine)?;
        let report = host.cordon(machine.id, cordoned, Actor::Platform).await?;
        self.cloud.read_back(machine.id, &report).await?;
        Ok(())
    }

    async fn say(&self, message: &str) -> Result<(), StepError> {
        Ok(self.cloud.note(self.release, message).await?)
    }

    async fn complete(&self) -> Result<(), StepError> {
        info!(app = %self.app.name, release = self.release.number, "release is complete");
        let app = self.cloud.store.app_by_id(self.app.id).await?;
        let counts = self.cloud.count_machines(&app).await?;
        let store = &self.cloud.store;
        store.set_release_counts(self.release.id, counts).await?;
        self.finish(ReleaseStatus::Complete, None).await
    }

    /// Takes away what stands beside the old machines, then records the end. What was changed in place stays, unless
    /// the app asks to go back.
    async fn fail(&self, reason: String) -> Result<(), StepError> {
        warn!(app = %self.app.name, release = self.release.number, reason, "release failed");
        let fleet = Fleet::look(self.cloud, &self.app, self.release, &self.options).await?;
        let by = self.cloud.by_platform();
        // Once requests have moved, what stands beside the old machines is what serves.
        if self.stage() != Stage::Switch || self.old_ones_serve(&fleet) {
            for machine in fleet.extra(self.options.strategy()) {
                self.cloud.destroy_machine(machine, true, &by).await?;
            }
        }
        clear(self.cloud, self.release).await?;
        for machine in fleet.machines.values() {
            self.cloud.unlease(self.release, machine).await?;
        }
        self.finish(ReleaseStatus::Failed, Some(reason)).await?;
        if !self.options.auto_rollback {
            return Ok(());
        }
        let before = Some(self.release.number);
        let store = &self.cloud.store;
        if let Some(target) = store.complete_release(self.app.id, before).await? {
            let owner = self.release.owner.clone();
            let allowance = Allowance::unlimited();
            self.cloud
                .roll_back_to(&target, false, owner, &allowance, by)
                .await?;
        }
        Ok(())
    }

    /// Whether requests did not move, or have moved back.
    fn old_ones_serve(&self, fleet: &Fleet) -> bool {
        let mut old = fleet.members.iter().filter(|member| !member.made);
        self.options.moves_to.is_none() && old.any(|member| member.running && !member.cordoned)
    }

    async fn finish(
        &self,
        status: ReleaseStatus,
        failure: Option<String>,
    ) -> Result<(), StepError> {
        let by = self.cloud.by_platform();
        self.cloud
            .store
            .finish_release(self.release.id, status, failure, by)
            .await?;
        Ok(())
    }
}

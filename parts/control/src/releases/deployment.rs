use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mayfly_control_store::{
    App, IdempotencyKey, Machine, NewLease, Release, ReleaseStatus, StoreError,
};
use mayfly_deploy::{Readiness, Stage, Step, Strategy, Turn, next};
use mayfly_host_api::{HostError, StopMachine};
use mayfly_machine::Actor;
use mayfly_runtime::{LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{Digest, MachineId, ReleaseId};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::api::app_config;
use super::command::{Command, look};
use super::content::{Content, ContentError, written};
use super::machines::{Fleet, runs};
use super::options::Options;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::machines::create::Order;
use crate::machines::prepare::WrittenConfig;
use crate::machines::update::Change;
use crate::secrets::SecretsWish;

/// While a release is under way it is looked at so often: checks change without an event of the log.
const EVERY: Duration = Duration::from_millis(250);

/// Machines that are on their way are leased, so that nobody changes them meanwhile; renewed at half time.
const LEASE: Duration = Duration::from_secs(60);

const COMMAND: &str = "release_command";

/// Why a step could not be taken; it is taken again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("use the control store")]
    Store(#[from] StoreError),
    #[error("ask a host")]
    Host(#[from] HostError),
    #[error("make a machine's configuration")]
    Content(#[from] ContentError),
    /// Refused for good: trying again changes nothing.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Later(String),
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        match error.is_final() {
            true => StepError::Refused(error.text().to_owned()),
            false => StepError::Later(error.text().to_owned()),
        }
    }
}

/// Carries out releases, one of each app at a time.
pub(crate) struct Deployments {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) status: LoopHandle,
}

impl Deployments {
    pub(crate) async fn run(self, stop: Stop) {
        let mut news = self.cloud.store.watch();
        let mut told: BTreeMap<ReleaseId, BTreeSet<MachineId>> = BTreeMap::new();
        while !stop.is_cancelled() {
            news.borrow_and_update();
            let began = self.cloud.now();
            let mut status = LoopStatus {
                ran_at: Some(began),
                ..LoopStatus::default()
            };
            match self.turn(&mut told, &mut status).await {
                Ok(()) => {}
                Err(error) => status.last_error = Some(report(&error)),
            }
            status.took = self.cloud.now().since(began);
            let busy = status.waiting > 0 || status.last_error.is_some();
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = news.changed(), if !busy => {}
                () = tokio::time::sleep(EVERY), if busy => {}
            }
        }
    }

    async fn turn(
        &self,
        told: &mut BTreeMap<ReleaseId, BTreeSet<MachineId>>,
        status: &mut LoopStatus,
    ) -> Result<(), StoreError> {
        let mut open = self.cloud.store.open_releases().await?;
        told.retain(|id, _| open.iter().any(|release| release.id == *id));
        let mut apps = BTreeSet::new();
        open.retain(|release| apps.insert(release.app_id));
        let mut turns = Vec::with_capacity(open.len());
        for release in &open {
            let known = told.remove(&release.id).unwrap_or_default();
            turns.push(self.advance(release, known));
        }
        let turned = join_all(turns).await;
        for (release, (known, result)) in open.iter().zip(turned) {
            told.insert(release.id, known);
            status.waiting += 1;
            match result {
                Ok(()) => status.applied += 1,
                Err(error) => {
                    warn!(app = %release.app_name, release = release.number, error = report(&error), "a step of a release waits");
                    status.last_error = Some(report(&error));
                }
            }
        }
        Ok(())
    }

    async fn advance(
        &self,
        release: &Release,
        mut known: BTreeSet<MachineId>,
    ) -> (BTreeSet<MachineId>, Result<(), StepError>) {
        let deployment = match Deployment::open(&self.cloud, release).await {
            Ok(deployment) => deployment,
            Err(error) => return (known, Err(error)),
        };
        let result = match deployment.advance(&mut known).await {
            Err(StepError::Refused(reason)) => deployment.fail(reason).await,
            Err(StepError::Content(error)) => deployment.fail(report(&error)).await,
            other => other,
        };
        (known, result)
    }
}

/// One release under way.
struct Deployment<'a> {
    cloud: &'a Arc<Cloud>,
    release: &'a Release,
    app: App,
    options: Options,
    config: Option<mayfly_appconfig::AppConfig>,
}

impl<'a> Deployment<'a> {
    async fn open(cloud: &'a Arc<Cloud>, release: &'a Release) -> Result<Self, StepError> {
        let app = cloud.store.app(release.app_name.clone()).await?;
        let options: Options = serde_json::from_value(release.options.clone()).unwrap_or_default();
        let config = match &release.config {
            Some(config) if !options.keep_config => Some(app_config(config)?),
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

    fn content(&self) -> Content<'_> {
        Content {
            release: self.release,
            config: self.config.as_ref(),
        }
    }

    async fn advance(&self, known: &mut BTreeSet<MachineId>) -> Result<(), StepError> {
        match self.release.stage.as_str() {
            "" => {
                info!(app = %self.app.name, release = self.release.number, "release begins");
                match self.has_command() && !self.options.skip_release_command {
                    true => self.set_stage(COMMAND).await,
                    false => self.enter(self.first_stage()).await,
                }
            }
            COMMAND => {
                let content = self.content();
                let command = look(self.cloud, &self.app, self.release, &content, &self.options);
                match command.await? {
                    Command::Running => Ok(()),
                    Command::Done => self.enter(self.first_stage()).await,
                    Command::Failed(reason) => self.fail(reason).await,
                }
            }
            stage => {
                let stage: Stage = serde_json::from_value(json!(stage)).unwrap_or(Stage::Machines);
                self.roll(stage, known).await
            }
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

    fn first_stage(&self) -> Stage {
        match self.options.strategy() {
            Strategy::Canary => Stage::Canary,
            _ => Stage::Machines,
        }
    }

    async fn enter(&self, stage: Stage) -> Result<(), StepError> {
        let word = json!(stage);
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

    async fn roll(&self, stage: Stage, known: &mut BTreeSet<MachineId>) -> Result<(), StepError> {
        let fleet = Fleet::look(self.cloud, &self.app, self.release, &self.options).await?;
        self.follow(&fleet, known).await?;
        let groups = fleet.groups(&self.content(), &self.options);
        match next(&self.options.rules(), &groups, &fleet.members, stage) {
            Turn::Wait => Ok(()),
            Turn::Enter(stage) => self.enter(stage).await,
            Turn::Done => self.complete().await,
            Turn::Failed(reason) => self.fail(reason).await,
            Turn::Act(steps) => {
                let taken = join_all(steps.iter().map(|step| self.take(step, &fleet))).await;
                taken.into_iter().collect()
            }
        }
    }

    /// Says which machines have come up, and keeps the leases of the others.
    async fn follow(
        &self,
        fleet: &Fleet,
        known: &mut BTreeSet<MachineId>,
    ) -> Result<(), StepError> {
        for member in &fleet.members {
            let machine = &fleet.machines[&member.id];
            match &member.release {
                Some(Readiness::Up) if known.insert(member.id) => {
                    self.cloud
                        .note(self.release, &format!("Machine {} is up", member.id))
                        .await?;
                    self.give_back(machine).await?;
                }
                Some(Readiness::Waiting) if !member.leased => self.lease(machine).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn take(&self, step: &Step, fleet: &Fleet) -> Result<(), StepError> {
        let content = self.content();
        match step {
            Step::Create { group, number } => {
                self.say(&format!("Creating machine {} of group {group}", number + 1))
                    .await?;
                let config = written(&content.fresh(group)?);
                let key = format!("{group}-{number}");
                self.cloud
                    .make(&self.app, self.release, &content, config, key, None, false)
                    .await
            }
            Step::CreateStandby { group, of } => {
                self.say(&format!("Creating a standby for machine {of}"))
                    .await?;
                let config = written(&content.standby(group, *of)?);
                let key = format!("{group}-standby");
                self.cloud
                    .make(&self.app, self.release, &content, config, key, None, false)
                    .await
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
                let key = format!("{group}-canary");
                self.cloud
                    .make(
                        &self.app,
                        self.release,
                        &content,
                        config,
                        key,
                        Some(like),
                        false,
                    )
                    .await
            }
            Step::CreateGreen { blue } => {
                let blue = &fleet.machines[blue];
                self.say(&format!("Creating the machine that replaces {}", blue.id))
                    .await?;
                let config = written(&content.green(blue, &fleet.greens())?);
                let key = format!("green-{}", blue.id);
                self.cloud
                    .make(
                        &self.app,
                        self.release,
                        &content,
                        config,
                        key,
                        Some(blue),
                        true,
                    )
                    .await
            }
            Step::Update(id) => {
                let machine = &fleet.machines[id];
                let config = content.changed(machine)?;
                self.say(&format!("Updating machine {id}")).await?;
                self.lease(machine).await?;
                Change {
                    app: self.app.clone(),
                    machine: machine.clone(),
                    config: Some(written(&config)),
                    secrets: self.cloud.secrets_of(self.release),
                    expected: Some(machine.instance_id),
                    nonce: Some(self.cloud.release_nonce(self.release)),
                    skip_launch: !runs(machine.state),
                    by: self.cloud.by_platform(),
                }
                .carry_out(self.cloud.clone())
                .await?;
                Ok(())
            }
            Step::Cordon(id) => self.cordon(&fleet.machines[id], true).await,
            Step::Uncordon(id) => self.cordon(&fleet.machines[id], false).await,
            Step::Stop(id) => {
                let machine = &fleet.machines[id];
                let request = StopMachine {
                    signal: None,
                    patience: None,
                    by: Actor::Platform,
                };
                self.cloud.host_of(machine)?.stop(*id, request).await?;
                Ok(())
            }
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

    async fn cordon(&self, machine: &Machine, cordoned: bool) -> Result<(), StepError> {
        let host = self.cloud.host_of(machine)?;
        let report = host.cordon(machine.id, cordoned, Actor::Platform).await?;
        self.cloud.read_back(machine.id, &report).await?;
        Ok(())
    }

    async fn lease(&self, machine: &Machine) -> Result<(), StepError> {
        let now = self.cloud.now();
        let nonce = self.cloud.release_nonce(self.release);
        let held = machine.lease_at(now).filter(|lease| lease.nonce == nonce);
        if held.is_some_and(|lease| lease.expires_at.until(now) > LEASE / 2) {
            return Ok(());
        }
        let lease = NewLease {
            nonce: nonce.clone(),
            owner: self.release.owner.clone(),
            description: Some(format!("release v{}", self.release.number)),
            expires_at: now + LEASE,
        };
        self.cloud
            .store
            .take_lease(
                machine.id,
                lease,
                held.map(|_| nonce),
                self.cloud.by_platform(),
            )
            .await?;
        Ok(())
    }

    async fn give_back(&self, machine: &Machine) -> Result<(), StepError> {
        let nonce = self.cloud.release_nonce(self.release);
        let by = self.cloud.by_platform();
        match self.cloud.store.release_lease(machine.id, nonce, by).await {
            Err(StoreError::NoLease | StoreError::Leased { .. } | StoreError::NotFound { .. }) => {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    async fn say(&self, message: &str) -> Result<(), StepError> {
        self.cloud.note(self.release, message).await
    }

    async fn complete(&self) -> Result<(), StepError> {
        info!(app = %self.app.name, release = self.release.number, "release is complete");
        self.finish(ReleaseStatus::Complete, None).await
    }

    /// Takes away what stands beside the old machines, then records the end. What was changed in place stays, unless
    /// the app asks to go back.
    async fn fail(&self, reason: String) -> Result<(), StepError> {
        warn!(app = %self.app.name, release = self.release.number, reason, "release failed");
        let fleet = Fleet::look(self.cloud, &self.app, self.release, &self.options).await?;
        let by = self.cloud.by_platform();
        for machine in fleet.extra() {
            self.cloud.destroy_machine(machine, true, &by).await?;
        }
        for machine in fleet.machines.values() {
            self.give_back(machine).await?;
        }
        self.finish(ReleaseStatus::Failed, Some(reason)).await?;
        if !self.options.auto_rollback {
            return Ok(());
        }
        let before = Some(self.release.number);
        let store = &self.cloud.store;
        if let Some(target) = store.complete_release(self.app.id, before).await? {
            let owner = self.release.owner.clone();
            self.cloud.roll_back_to(&target, false, owner, by).await?;
        }
        Ok(())
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

impl Cloud {
    /// What a release's own lease is known by: nobody can tell it from the release's id.
    pub(super) fn release_nonce(&self, release: &Release) -> String {
        let mark = self
            .certificates
            .sealer
            .fingerprint(release.id.as_str().as_bytes(), "lease of a release");
        mark.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn secrets_of(&self, release: &Release) -> SecretsWish {
        SecretsWish {
            at: Some(release.secrets_version),
            ..SecretsWish::default()
        }
    }

    pub(super) async fn note(&self, release: &Release, message: &str) -> Result<(), StepError> {
        let by = self.by_platform();
        Ok(self
            .store
            .note_release(release.id, message.to_owned(), by)
            .await?)
    }

    /// Makes a machine of a release once, however often it is asked for: `key` names it within the release. It goes where
    /// `like` is, else to the app's primary region.
    #[allow(clippy::too_many_arguments)] // each is a different kind, and there is one place that has them all
    pub(super) async fn make(
        self: &Arc<Self>,
        app: &App,
        release: &Release,
        content: &Content<'_>,
        config: WrittenConfig,
        key: String,
        like: Option<&Machine>,
        cordoned: bool,
    ) -> Result<(), StepError> {
        let primary = content
            .config
            .and_then(|config| config.primary_region.clone());
        let region = match (like, primary) {
            (Some(like), _) => like.region.clone(),
            (None, Some(code)) if !code.is_empty() => self
                .regions()
                .find(&code)
                .map_err(|text| StepError::Refused(format!("primary_region: {text}")))?,
            (None, _) => self.regions().default_region().clone(),
        };
        let order = Order {
            app: app.clone(),
            config: Some(config),
            name: None,
            region,
            skip_launch: false,
            cordoned,
            secrets: self.secrets_of(release),
            lease_ttl: None,
            owner: release.owner.clone(),
            idempotency: Some(IdempotencyKey {
                caller: format!("release:{}", release.id),
                request: Digest::from_sha256(Sha256::digest(key.as_bytes()).into()),
                key,
                expires_at: self.now() + Duration::from_secs(7 * 24 * 3600),
            }),
            by: self.by_platform(),
        };
        order.carry_out(self.clone()).await?;
        Ok(())
    }
}

//! Further machines of a deployed app that no release makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use mayfly_appconfig::AppConfig;
use mayfly_control_store::{App, Machine, StoreError};
use mayfly_deploy::Readiness;
use mayfly_machine::Rights;
use mayfly_runtime::report;
use mayfly_types::{MachineId, Region};

use super::api::app_config;
use super::content::{AUTOSCALED, CANARY, Content, RELEASE_VERSION, group_of, written};
use super::machines::{HISTORY, is_managed, judge};
use super::options::Options;
use crate::access::Allowance;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::machines::checks::Checks;
use crate::machines::create::Order;
use crate::secrets::SecretsWish;

/// Whether the load has made the machine, so that it may end it again.
pub(crate) fn is_autoscaled(machine: &Machine) -> bool {
    let mark = machine.spec.metadata.get(AUTOSCALED);
    mark.is_some_and(|mark| mark == "true")
}

/// Whether a machine counts among those of its group: standbys and canaries do not, nor what no deployment made.
pub(crate) fn counts_in(machine: &Machine, group: &str) -> bool {
    is_managed(machine)
        && group_of(machine) == group
        && machine.spec.standbys.is_empty()
        && !machine.spec.metadata.contains_key(CANARY)
}

/// The release that machines were given last.
pub(crate) fn release_of(machine: &Machine) -> i64 {
    let version = machine.spec.metadata.get(RELEASE_VERSION);
    version
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

impl Cloud {
    /// Makes a machine as the newest of its group is, if possible of the same region, else as the app's newest release says.
    /// The id was written down before: asked for twice, the machine is made once.
    ///
    /// # Errors
    /// Final ones if it cannot be made at all.
    pub(crate) async fn make_alike(
        self: &Arc<Self>,
        app: App,
        group: &str,
        region: &Region,
        id: MachineId,
    ) -> Result<(), ApiError> {
        let release = self.store.complete_release(app.id, None).await?;
        let release = release.ok_or_else(|| {
            ApiError::invalid(format!("app {} has no complete release", app.name))
        })?;
        let config = release.config.as_ref().map(app_config).transpose()?;
        let content = Content {
            release: &release,
            config: config.as_ref(),
            guest: None,
            first_guest: Options::of_release(&release).first_guest,
            copies: false,
        };
        let machines = self.machines_of(&app, false).await?;
        let of_group = machines.iter().filter(|one| counts_in(one, group));
        let like = of_group.max_by_key(|one| (one.region == *region, one.created_at, one.id));
        let secrets_version = match like {
            Some(like) => self.store.secrets_version_of(like.instance_id).await?,
            None => release.secrets_version,
        };
        let further = content.further(group, like, &BTreeMap::new());
        let mut config = further.map_err(|error| ApiError::invalid(report(&error)))?;
        let metadata = config.metadata.get_or_insert_default();
        metadata.insert(AUTOSCALED.to_owned(), "true".to_owned());
        let volumes = self.further_volume(&app, content.config, &config, group, false);
        let volumes = volumes.await?;
        let order = Order {
            app,
            config: Some(written(&config)),
            name: None,
            region: Some(region.clone()),
            volumes,
            skip_launch: false,
            cordoned: false,
            secrets: SecretsWish {
                at: Some(secrets_version),
                ..SecretsWish::default()
            },
            lease_ttl: None,
            owner: "autoscaler".to_owned(),
            idempotency: None,
            rights: Rights::Ordinary,
            allowance: Allowance::unlimited(),
            id: Some(id),
            by: self.by_autoscaler(),
        };
        order.carry_out(self.clone()).await.map(drop)
    }

    /// Whether a machine that was made without a release is up, by the rules that releases have.
    pub(crate) async fn readiness_of(&self, machine: &Machine) -> Result<Readiness, StoreError> {
        let history = self.store.machine_events(machine.id, HISTORY).await?;
        let checks = Checks::now(&self.hosts);
        let rules = Options::of_scaling().rules();
        Ok(judge(machine, &history, &checks, &rules, self.now()))
    }

    /// Where an app's first machine goes.
    pub(crate) async fn home_of(&self, app: &App) -> Result<Region, ApiError> {
        let release = self.store.complete_release(app.id, None).await?;
        let config = release.and_then(|release| release.config);
        let config = config.as_ref().map(app_config).transpose()?;
        self.primary_region(config.as_ref())
            .map_err(|text| ApiError::invalid(format!("primary_region: {text}")))
    }

    /// The primary region of a configuration; the cloud's default one if none is named.
    ///
    /// # Errors
    /// What is wrong with the code that is named.
    pub(super) fn primary_region(&self, config: Option<&AppConfig>) -> Result<Region, String> {
        let primary = config.and_then(|config| config.primary_region.as_deref());
        match primary.filter(|code| !code.is_empty()) {
            None => Ok(self.regions().default_region().clone()),
            Some(code) => self.regions().find(code),
        }
    }
}

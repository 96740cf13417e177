//! The machines a release makes.

use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{App, IdempotencyKey, Machine, Release, StoreError};
use mayfly_machine::Rights;
use mayfly_types::{Digest, Region};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::error::StepError;
use crate::access::Allowance;
use crate::cloud::Cloud;
use crate::machines::create::Order;
use crate::machines::prepare::WrittenConfig;
use crate::secrets::SecretsWish;
use crate::volumes::VolumeChoice;

/// Longer than any release takes.
const KEY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a machine of a release comes to be.
pub(super) struct Made {
    pub(super) region: Region,
    /// Without requests at first.
    pub(super) cordoned: bool,
    /// It is not started.
    pub(super) rests: bool,
    /// Which volume it gets, if its configuration names one.
    pub(super) volumes: VolumeChoice,
}

impl Made {
    /// One that is started and takes requests as soon as it can.
    pub(super) fn open(region: Region) -> Self {
        Self {
            region,
            cordoned: false,
            rests: false,
            volumes: VolumeChoice::Free,
        }
    }
}

impl Cloud {
    pub(super) fn secrets_of(&self, release: &Release) -> SecretsWish {
        SecretsWish {
            at: Some(release.secrets_version),
            ..SecretsWish::default()
        }
    }

    /// Tells whoever follows the release.
    pub(super) async fn note(&self, release: &Release, message: &str) -> Result<(), StoreError> {
        let by = self.by_platform();
        self.store
            .note_release(release.id, message.to_owned(), by)
            .await
    }

    /// Where a release makes a machine: where `like` is, else in the app's primary region.
    pub(super) fn region_of(
        &self,
        content: &Content<'_>,
        like: Option<&Machine>,
    ) -> Result<Region, StepError> {
        match like {
            Some(like) => Ok(like.region.clone()),
            None => self
                .primary_region(content.config)
                .map_err(|text| StepError::Refused(format!("primary_region: {text}"))),
        }
    }

    /// Makes a machine of a release once, however often it is asked for: `key` names it within the release.
    pub(super) async fn make(
        self: &Arc<Self>,
        app: &App,
        release: &Release,
        config: WrittenConfig,
        key: String,
        made: Made,
    ) -> Result<Machine, StepError> {
        let order = Order {
            app: app.clone(),
            config: Some(config),
            name: None,
            region: Some(made.region),
            volumes: made.volumes,
            skip_launch: made.rests,
            cordoned: made.cordoned,
            secrets: self.secrets_of(release),
            lease_ttl: None,
            owner: release.owner.clone(),
            idempotency: Some(IdempotencyKey {
                caller: format!("release:{}", release.id),
                request: Digest::from_sha256(Sha256::digest(key.as_bytes()).into()),
                key,
                expires_at: self.now() + KEY_KEPT,
            }),
            rights: Rights::Ordinary,
            allowance: Allowance::unlimited(),
            id: None,
            by: self.by_platform(),
        };
        let (machine, _) = order.carry_out(self.clone()).await?;
        Ok(machine)
    }
}

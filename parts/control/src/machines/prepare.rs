//! From a configuration to a version that can be stored: rules, images, references to other machines.

use std::collections::BTreeMap;

use mayfly_control_store::{App, NewVersion, StoreError};
use mayfly_host_api::{HostApi, HostError, ImageInfo};
use mayfly_machine::{FileContent, FileSpec, MachineSpec};
use mayfly_types::{ErrorKind, ImageRef, InstanceId, Region, Secret};
use mayfly_wire::{MachineConfig, read_value};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::access::Allowance;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::registry::images_of;
use crate::secrets::SecretsWish;

/// A configuration as it was read, and to the letter.
pub(crate) type WrittenConfig = (Value, Box<RawValue>);

/// What is recorded of a version, and what only its host is told.
pub(super) struct Prepared {
    pub(super) version: NewVersion,
    pub(super) secrets: BTreeMap<String, Secret>,
}

impl Cloud {
    /// Checks a configuration by every rule, finds its images at the host that will run it and the secrets it starts with,
    /// and gives it a version.
    pub(super) async fn prepare(
        &self,
        app: &App,
        host: &dyn HostApi,
        config: Option<WrittenConfig>,
        secrets: SecretsWish,
    ) -> Result<Prepared, ApiError> {
        let (value, letter) = config
            .ok_or_else(|| ApiError::invalid("config is required: at least {\"image\": \"…\"}"))?;
        let config: MachineConfig = read_value(&value).map_err(|error| error.inside("config"))?;
        let mut spec = config.check()?;
        self.check_standbys(app, &spec).await?;
        for image in images_of(&spec) {
            self.check_image_owner(&[app.org_id], image, "config.image")
                .await?;
        }
        let labels = pin_images(host, &mut spec).await?;
        let secrets = self.secrets_for(app, secrets).await?;
        Ok(Prepared {
            version: NewVersion {
                instance_id: InstanceId::new(self.now(), self.entropy.bytes()),
                image: spec.image.clone(),
                image_labels: labels,
                config: letter,
                spec,
                secrets_version: secrets.version,
            },
            secrets: secrets.values,
        })
    }

    /// Holds that whoever asked may have the images of a version run in a region.
    pub(super) fn check_allowance(
        &self,
        allowance: &Allowance,
        prepared: &Prepared,
        region: &Region,
    ) -> Result<(), ApiError> {
        let images = images_of(&prepared.version.spec).map(|image| self.named(image));
        allowance.permit(images, [region.clone()])
    }

    /// An image for an app by the digest it stands for now, as a host of this cloud sees it.
    pub(crate) async fn pin_image(
        &self,
        app: &App,
        image: &ImageRef,
        field: &str,
    ) -> Result<ImageRef, ApiError> {
        self.check_image_owner(&[app.org_id], image, field).await?;
        let host = &self.hosts.all()[0];
        let found = find_image(host.api.as_ref(), image, field).await?;
        Ok(image.pinned(found.digest))
    }

    async fn check_standbys(&self, app: &App, spec: &MachineSpec) -> Result<(), ApiError> {
        for (index, id) in spec.standbys.iter().enumerate() {
            match self.store.machine(*id).await {
                Ok(machine) if machine.app_id == app.id && machine.destroyed_at.is_none() => {}
                Ok(_) | Err(StoreError::NotFound { .. }) => {
                    return Err(ApiError::invalid(format!(
                        "config.standbys[{index}] must be a machine of app {}: {id} is none",
                        app.name
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Replaces every image of the specification by the content it stands for now; returns the main image's labels.
async fn pin_images(
    host: &dyn HostApi,
    spec: &mut MachineSpec,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut labels = None;
    if spec.containers.is_empty() {
        let found = find_image(host, &spec.image, "config.image").await?;
        spec.image = spec.image.pinned(found.digest);
        labels = Some(found.labels);
    }
    for (index, container) in spec.containers.iter_mut().enumerate() {
        let field = format!("config.containers[{index}].image");
        let found = find_image(host, &container.image, &field).await?;
        container.image = container.image.pinned(found.digest);
        labels.get_or_insert(found.labels);
        pin_files(host, &mut container.files).await?;
    }
    if let Some(first) = spec.containers.first() {
        spec.image = first.image.clone();
    }
    pin_files(host, &mut spec.files).await?;
    Ok(labels.unwrap_or_default())
}

async fn pin_files(host: &dyn HostApi, files: &mut [FileSpec]) -> Result<(), ApiError> {
    for file in files {
        if let FileContent::ImageConfig(image) = &mut file.content {
            let found = find_image(host, image, "config.files").await?;
            *image = image.pinned(found.digest);
        }
    }
    Ok(())
}

async fn find_image(
    host: &dyn HostApi,
    image: &ImageRef,
    field: &str,
) -> Result<ImageInfo, ApiError> {
    host.resolve_image(image, None).await.map_err(|error| {
        // The request names something that is not there: its own fault, not a missing page.
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Denied => {
                ApiError::invalid(format!("{field}: {}", mayfly_runtime::report(&error)))
            }
            _ => HostError::into(error),
        }
    })
}

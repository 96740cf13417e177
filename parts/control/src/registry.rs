//! What the registry asks the control plane: whose a token is, and which images must stay.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use mayfly_access::{Action, Denied, NamedImage};
use mayfly_control_store::{AppFilter, MachineFilter, StoreError};
use mayfly_machine::{FileContent, MachineSpec};
use mayfly_registry::{Access, AccessError, Entry, Needed, Right, Shown};
use mayfly_types::{AppId, AppName, Digest, ImageRef, OrgId};
use serde_json::{Value, json};

use crate::access::{Caller, Presented, holder_of};
use crate::cloud::Cloud;
use crate::error::ApiError;

/// Releases of an app whose images stay, the newest.
const RELEASES_KEPT: u32 = 30;

pub(crate) struct RegistryAccess(pub(crate) Arc<Cloud>);

#[async_trait]
impl Access for RegistryAccess {
    async fn entry(
        &self,
        shown: &Shown,
        app: Option<(&AppName, Right<'_>)>,
    ) -> Result<Entry, AccessError> {
        let (cloud, token) = (&self.0, shown.token.reveal());
        if let Some(owner) = cloud.builds.app_of(token) {
            return self.of_build(owner, app).await;
        }
        let holder = match holder_of(cloud, token, shown.source).await {
            Ok(Presented::By(holder)) => holder,
            Ok(Presented::FromElsewhere(denied)) => return Ok(Entry::Refused(denied.to_string())),
            Ok(Presented::ByNobody) => return Ok(Entry::Stranger),
            Err(error) => return Err(unknown(error)),
        };
        let Some((app, right)) = app else {
            return Ok(match holder.opens_anything(cloud.now()) {
                true => Entry::Granted(None),
                false => Entry::Stranger,
            });
        };
        let app = match cloud.store.app(app.clone()).await {
            Ok(app) => app,
            Err(StoreError::NotFound { .. }) => return Ok(Entry::Closed),
            Err(error) => return Err(unknown(error)),
        };
        let opens = |action, images| holder.opens_app(&app, action, images, cloud.now());
        if opens(Action::READ, Vec::new()).is_err() {
            return Ok(Entry::Closed);
        }
        let decided = match right {
            Right::Pull => Ok(()),
            Right::Push => opens(Action::WRITE, Vec::new()),
            Right::Name(repository, digest) => {
                let image = NamedImage {
                    repositories: cloud.own_names(&repository.to_string()),
                    digest: Some(digest),
                };
                opens(Action::WRITE, vec![image])
            }
        };
        Ok(match decided {
            Ok(()) => Entry::Granted(Some(app.id)),
            Err(denied @ Denied::Limited { .. }) => Entry::Refused(denied.to_string()),
            Err(_) => Entry::ReadsOnly,
        })
    }

    async fn app(&self, name: &AppName) -> Result<Option<AppId>, AccessError> {
        match self.0.store.app(name.clone()).await {
            Ok(app) => Ok(Some(app.id)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(unknown(error)),
        }
    }

    async fn needed(&self) -> Result<Needed, AccessError> {
        self.0.needed_images().await.map_err(unknown)
    }
}

impl RegistryAccess {
    /// A build sees the repositories of its app only.
    async fn of_build(
        &self,
        owner: AppId,
        app: Option<(&AppName, Right<'_>)>,
    ) -> Result<Entry, AccessError> {
        let Some((app, _)) = app else {
            return Ok(Entry::Granted(None));
        };
        match self.0.store.app(app.clone()).await {
            Ok(app) if app.id == owner => Ok(Entry::Granted(Some(owner))),
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(Entry::Closed),
            Err(error) => Err(unknown(error)),
        }
    }
}

fn unknown(error: StoreError) -> AccessError {
    AccessError(Box::new(error))
}

/// `GET /v1/registry`: where clients beside this server's own reach the registry.
pub(crate) async fn show(State(cloud): State<Arc<Cloud>>, _caller: Caller) -> Json<Value> {
    let name = format!("registry.{}", cloud.settings.domain);
    let host = match cloud.settings.edges.first().map(|edge| edge.https.port()) {
        None | Some(443) => name,
        Some(port) => format!("{name}:{port}"),
    };
    Json(json!({ "host": host, "names": cloud.settings.registry_names }))
}

/// Every image that a specification names.
pub(crate) fn images_of(spec: &MachineSpec) -> impl Iterator<Item = &ImageRef> {
    let files = spec.files.iter();
    let files = files.chain(spec.containers.iter().flat_map(|one| &one.files));
    let of_files = files.filter_map(|file| match &file.content {
        FileContent::ImageConfig(image) => Some(image),
        _ => None,
    });
    let of_containers = spec.containers.iter().map(|one| &one.image);
    of_containers.chain(of_files).chain([&spec.image])
}

impl Cloud {
    async fn needed_images(&self) -> Result<Needed, StoreError> {
        let mut images: BTreeSet<Digest> = BTreeSet::new();
        for machine in self.store.machines(MachineFilter::default()).await? {
            let all = images_of(&machine.spec).chain([&machine.image]);
            images.extend(all.filter_map(ImageRef::digest));
        }
        let apps = self.store.apps(AppFilter::default()).await?;
        for app in &apps {
            for release in self.store.releases(app.id, RELEASES_KEPT).await? {
                images.extend(release.image.and_then(|image| image.digest()));
            }
        }
        Ok(Needed {
            images,
            apps: apps.into_iter().map(|app| app.id).collect(),
        })
    }

    /// Refuses an image of our own registry that belongs to an app of none of these organizations: hosts may read all.
    pub(crate) async fn check_image_owner(
        &self,
        orgs: &[OrgId],
        image: &ImageRef,
        field: &str,
    ) -> Result<(), ApiError> {
        let names = &self.settings.registry_names;
        if !names.iter().any(|name| name == image.registry()) {
            return Ok(());
        }
        let repository = image.repository();
        let name = repository.split('/').next().unwrap_or(repository);
        let app = match name.parse::<AppName>() {
            Ok(name) => self.store.app(name).await.map(Some),
            Err(_) => Ok(None),
        };
        match app {
            Ok(Some(app)) if orgs.contains(&app.org_id) => Ok(()),
            Ok(_) | Err(StoreError::NotFound { .. }) => Err(ApiError::invalid(format!(
                "{field}: the registry of this cloud has no repository {repository}, or it is not of this organization"
            ))),
            Err(error) => Err(error.into()),
        }
    }
}

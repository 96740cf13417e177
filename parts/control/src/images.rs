//! Mayfly's own image endpoints: taking images in, listing, pulling and pruning them.

mod upload;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use mayfly_control_store::MachineFilter;
use mayfly_host_api::{ImageInfo, ImageSource, Pruned, PullProgress, RegistryLogin};
use mayfly_types::{ErrorKind, ImageRef, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Caller, operator};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::query::Query;

pub(crate) use upload::Uploads;

/// `POST /v1/images?name=`: takes in an OCI layout or docker archive, under a name that everybody's machines may run.
pub(crate) async fn import(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    query: Query,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    operator(&cloud, &caller).await?;
    let name: Option<ImageRef> = query.parsed("name")?;
    let upload = cloud.uploads.receive(request.into_body()).await?;
    let source = ImageSource {
        path: upload.path().to_owned(),
        name,
    };
    let mut images = Vec::new();
    // Hosts of other servers fetch it from here when they need it.
    let stores = cloud.hosts.image_stores().into_iter();
    for member in stores.filter(|member| member.is_local) {
        images = member.api.import_image(source.clone()).await?;
    }
    Ok(Json(json!({ "images": images })))
}

/// `GET /v1/images`.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    _caller: Caller,
) -> Result<Json<Vec<ImageInfo>>, ApiError> {
    Ok(Json(known(&cloud).await?))
}

/// `GET /v1/images/show?image=`.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    _caller: Caller,
    query: Query,
) -> Result<Json<ImageInfo>, ApiError> {
    let wanted: ImageRef = query
        .parsed("image")?
        .ok_or_else(|| ApiError::unreadable("query parameter \"image\" is required"))?;
    let images = known(&cloud).await?;
    let found = images.into_iter().find(|info| names(&wanted, info));
    found
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("image {wanted} is not in this cloud")))
}

/// The images of all hosts, each once: ready if it is everywhere, used by the machines of all.
async fn known(cloud: &Cloud) -> Result<Vec<ImageInfo>, ApiError> {
    let mut merged: Vec<ImageInfo> = Vec::new();
    for member in cloud.hosts.all() {
        let images = match member.api.images().await {
            // A server that is away for a moment takes nothing out of the list but its own.
            Err(error) if !member.is_local && error.kind() == ErrorKind::Unavailable => continue,
            images => images?,
        };
        for info in images {
            match merged.iter_mut().find(|known| known.image == info.image) {
                Some(known) => {
                    known.used_by += info.used_by;
                    known.ready &= info.ready;
                }
                None => merged.push(info),
            }
        }
    }
    Ok(merged)
}

fn names(wanted: &ImageRef, info: &ImageInfo) -> bool {
    let same_place = wanted.registry() == info.image.registry()
        && wanted.repository() == info.image.repository();
    let same_content = match wanted.digest() {
        Some(digest) => digest == info.digest,
        None => wanted.tag() == info.image.tag(),
    };
    same_place && same_content
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pull {
    image: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
}

/// `POST /v1/images/pull`: finds what a name stands for now and fetches it.
pub(crate) async fn pull(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    JsonBody(request): JsonBody<Pull>,
) -> Result<Json<ImageInfo>, ApiError> {
    let image = request
        .image
        .ok_or_else(|| ApiError::unreadable("field \"image\" is required"))?;
    let image: ImageRef = image
        .parse()
        .map_err(|error| ApiError::invalid(format!("image: {error}")))?;
    cloud
        .check_image_owner(&caller.org_ids(), &image, "image")
        .await?;
    let login = match (request.username, request.password) {
        (Some(username), Some(password)) => Some(RegistryLogin { username, password }),
        (None, None) => None,
        _ => {
            return Err(ApiError::invalid(
                "username and password belong together: give both or none",
            ));
        }
    };
    let mut found: Option<ImageInfo> = None;
    for member in cloud.hosts.image_stores() {
        // All get what the first found, also if the name moves on meanwhile.
        let wanted = found.as_ref().map_or(&image, |info| &info.image);
        let info = match member.api.resolve_image(wanted, login.clone()).await {
            Err(error) if !member.is_local && error.kind() == ErrorKind::Unavailable => continue,
            info => info?,
        };
        found.get_or_insert(info);
    }
    found.map(Json).ok_or_else(ApiError::internal)
}

/// `GET /v1/images/pulls`.
pub(crate) async fn pulls(
    State(cloud): State<Arc<Cloud>>,
    _caller: Caller,
) -> Json<Vec<PullProgress>> {
    let mut pulls = Vec::new();
    for member in cloud.hosts.image_stores() {
        pulls.extend(member.api.pulls().await);
    }
    Json(pulls)
}

/// `POST /v1/images/prune`: removes what no machine needs.
pub(crate) async fn prune(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
) -> Result<Json<Pruned>, ApiError> {
    operator(&cloud, &caller).await?;
    // What a host's machines need the host knows itself; but some may be on their way to one, and a host of another
    // server may yet have to fetch its images from here.
    let machines = cloud.store.machines(MachineFilter::default()).await?;
    let keep: Vec<ImageRef> = machines
        .into_iter()
        .flat_map(|machine| {
            let containers = machine.spec.containers.into_iter();
            let images = containers.map(|container| container.image);
            images.chain([machine.image]).collect::<Vec<ImageRef>>()
        })
        .collect();
    let mut pruned = Pruned::default();
    for member in cloud.hosts.image_stores() {
        let removed = match member.api.prune_images(keep.clone()).await {
            Err(error) if !member.is_local && error.kind() == ErrorKind::Unavailable => continue,
            removed => removed?,
        };
        pruned.images.extend(removed.images);
        pruned.layers += removed.layers;
        pruned.freed_bytes += removed.freed_bytes;
    }
    Ok(Json(pruned))
}

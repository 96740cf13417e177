use mayfly_access::{NamedImage, Request};
use mayfly_control_store::App;
use mayfly_types::{ImageRef, Region};

use super::caller::Caller;
use super::grant::Grant;
use crate::cloud::Cloud;
use crate::error::ApiError;

/// What the tokens of whoever asked say about images and regions, for work that finds out later which these are.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Option<(Grant, Request)>);

impl Allowance {
    /// Of what the platform does by itself.
    pub(crate) fn unlimited() -> Self {
        Self(None)
    }

    /// Holds that these images may be run in these regions.
    ///
    /// # Errors
    /// 403 with the caveat that refuses.
    pub(crate) fn permit(
        &self,
        images: impl IntoIterator<Item = NamedImage>,
        regions: impl IntoIterator<Item = Region>,
    ) -> Result<(), ApiError> {
        let Some((grant, request)) = &self.0 else {
            return Ok(());
        };
        let request = Request {
            images: images.into_iter().collect(),
            regions: regions.into_iter().map(|code| code.to_string()).collect(),
            ..request.clone()
        };
        grant.permits(&request).map_err(ApiError::forbidden)
    }
}

impl Caller {
    /// For what this request does to an app.
    pub(crate) fn allowance(&self, app: &App) -> Allowance {
        self.allowance_of(self.request_for(app))
    }

    pub(super) fn allowance_of(&self, request: Request) -> Allowance {
        Allowance(Some((self.grant.clone(), request)))
    }
}

impl Cloud {
    /// An image under all names that it has here.
    pub(crate) fn named(&self, image: &ImageRef) -> NamedImage {
        let own = &self.settings.registry_names;
        let (registry, repository) = (image.registry(), image.repository());
        NamedImage {
            repositories: match own.iter().any(|name| name == registry) {
                true => self.own_names(repository),
                false => vec![format!("{registry}/{repository}")],
            },
            digest: image.digest(),
        }
    }

    /// What a repository of our own registry is called.
    pub(crate) fn own_names(&self, repository: &str) -> Vec<String> {
        let registries = self.settings.registry_names.iter();
        registries
            .map(|registry| format!("{registry}/{repository}"))
            .collect()
    }
}

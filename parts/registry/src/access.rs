use std::collections::BTreeSet;
use std::net::IpAddr;

use async_trait::async_trait;
use mayfly_types::{AppId, AppName, Digest, Secret};

use crate::RepositoryName;

/// What the owner of users, apps and machines knows.
#[async_trait]
pub trait Access: Send + Sync + 'static {
    /// Whether who shows this token may do this with the repositories of an app; without one, whether the token is good for
    /// anything.
    async fn entry(
        &self,
        shown: &Shown,
        app: Option<(&AppName, Right<'_>)>,
    ) -> Result<Entry, AccessError>;

    /// The app of this name. A later app of the same name is another one, and has none of its images.
    async fn app(&self, name: &AppName) -> Result<Option<AppId>, AccessError>;

    /// What must not go.
    async fn needed(&self) -> Result<Needed, AccessError>;
}

/// What a request shows of who sends it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub token: Secret,
    /// Where it comes from, if that is known.
    pub source: Option<IpAddr>,
}

/// What somebody wants to do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right<'a> {
    /// See what is there and read it.
    Pull,
    /// Add, replace and delete.
    Push,
    /// Make content of this digest an image of the repository.
    Name(&'a RepositoryName, Digest),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// With the app that was asked for.
    Granted(Option<AppId>),
    /// The token is good, and reads this app's repositories only.
    ReadsOnly,
    /// The token is good, and this is not what or where it may be used for, for this reason.
    Refused(String),
    /// The token is good, and there is no such app for its holder.
    Closed,
    /// The token is not known, has expired or was revoked.
    Stranger,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// What machines run and releases name.
    pub images: BTreeSet<Digest>,
    /// The repositories of others are removed.
    pub apps: BTreeSet<AppId>,
}

/// Nobody can say now who may enter.
#[derive(Debug, thiserror::Error)]
#[error("look up who may enter")]
pub struct AccessError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

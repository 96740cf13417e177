use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{Method, header};
use mayfly_net::PeerAddr;
use mayfly_types::{AppId, Digest, Secret};
use sha2::{Digest as _, Sha256};

use crate::name::{Owner, Repository};
use crate::{Access, Entry, RegistryError, RepositoryName, Right, Shown};

/// Who may enter.
#[derive(Clone)]
pub struct Door {
    pub access: Arc<dyn Access>,
    /// What the hosts of this cloud show: it reads every repository. Long and random.
    pub hosts: Secret,
}

pub(super) enum Visitor {
    Host,
    Holder(Shown),
}

impl Door {
    /// Reads the password of `Basic` and what follows other schemes.
    pub(super) fn visitor(&self, parts: &Parts) -> Result<Visitor, RegistryError> {
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .ok_or(RegistryError::NoToken)?;
        let text = header.to_str().map_err(|_| RegistryError::Stranger)?;
        let token = match text.split_once(' ') {
            Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
                let decoded = STANDARD.decode(encoded.trim());
                let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let password = decoded.and_then(|text| Some(text.split_once(':')?.1.to_owned()));
                password.ok_or(RegistryError::Stranger)?
            }
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.to_owned(),
            _ => text.to_owned(),
        };
        if token.trim().is_empty() {
            return Err(RegistryError::NoToken);
        }
        // Digests are compared, so that the time it takes says nothing.
        if Sha256::digest(&token) == Sha256::digest(self.hosts.reveal()) {
            return Ok(Visitor::Host);
        }
        let peer = parts.extensions.get::<PeerAddr>();
        Ok(Visitor::Holder(Shown {
            token: Secret::new(token),
            source: peer.map(|PeerAddr(address)| address.ip()),
        }))
    }

    /// The app's id, if one was asked for and the visitor may do this with it.
    pub(super) async fn admit(
        &self,
        visitor: &Visitor,
        name: Option<&RepositoryName>,
        method: &Method,
    ) -> Result<Option<AppId>, RegistryError> {
        let right = match method.is_safe() {
            true => Right::Pull,
            false => Right::Push,
        };
        self.admit_to(visitor, name.map(|name| (name, right))).await
    }

    /// Holds that the visitor may make content of this digest an image of the repository.
    pub(super) async fn admit_image(
        &self,
        visitor: &Visitor,
        repository: &Repository,
        digest: Digest,
    ) -> Result<(), RegistryError> {
        let name = &repository.name;
        let wanted = Some((name, Right::Name(name, digest)));
        self.admit_to(visitor, wanted).await.map(drop)
    }

    async fn admit_to(
        &self,
        visitor: &Visitor,
        wanted: Option<(&RepositoryName, Right<'_>)>,
    ) -> Result<Option<AppId>, RegistryError> {
        let name = wanted.map(|(name, _)| name);
        let app = name.map(RepositoryName::app);
        let right = wanted.map(|(_, right)| right);
        let closed = || {
            let name = name.map(RepositoryName::to_string);
            RegistryError::UnknownName(name.unwrap_or_default())
        };
        match visitor {
            Visitor::Host => match app {
                _ if right.is_some_and(|right| right != Right::Pull) => {
                    Err(RegistryError::ReadsOnly)
                }
                None => Ok(None),
                Some(app) => self.access.app(app).await?.map(Some).ok_or_else(closed),
            },
            Visitor::Holder(shown) => match self.access.entry(shown, app.zip(right)).await? {
                Entry::Granted(app) => Ok(app),
                Entry::ReadsOnly => Err(RegistryError::ReadsOnly),
                Entry::Refused(why) => Err(RegistryError::Refused(why)),
                Entry::Closed => Err(closed()),
                Entry::Stranger => Err(RegistryError::Stranger),
            },
        }
    }

    pub(super) async fn repository(
        &self,
        visitor: &Visitor,
        name: &RepositoryName,
        method: &Method,
    ) -> Result<Repository, RegistryError> {
        let owner = self.admit(visitor, Some(name), method).await?;
        let name = name.clone();
        match owner {
            Some(app) => Ok(Repository {
                owner: Owner::App(app),
                name,
            }),
            None => Err(RegistryError::UnknownName(name.to_string())),
        }
    }
}

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, header};
use mayfly_types::{AppId, Secret};
use sha2::{Digest as _, Sha256};

use crate::name::{Owner, Repository};
use crate::{Access, Entry, RegistryError, RepositoryName, Right};

/// Who may enter.
#[derive(Clone)]
pub struct Door {
    pub access: Arc<dyn Access>,
    /// What the hosts of this cloud show: it reads every repository. Long and random.
    pub hosts: Secret,
}

pub(super) enum Visitor {
    Host,
    Holder(Secret),
}

impl Door {
    /// Reads the password of `Basic` and what follows other schemes.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, RegistryError> {
        let header = headers
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
        Ok(Visitor::Holder(Secret::new(token)))
    }

    /// The app's id, if one was asked for and the visitor may do this with it.
    pub(super) async fn admit(
        &self,
        visitor: &Visitor,
        name: Option<&RepositoryName>,
        method: &Method,
    ) -> Result<Option<AppId>, RegistryError> {
        let app = name.map(RepositoryName::app);
        let right = Some(match method.is_safe() {
            true => Right::Pull,
            false => Right::Push,
        });
        let closed = || {
            let name = name.map(RepositoryName::to_string);
            RegistryError::UnknownName(name.unwrap_or_default())
        };
        match visitor {
            Visitor::Host => match app {
                _ if !method.is_safe() => Err(RegistryError::ReadsOnly),
                None => Ok(None),
                Some(app) => self.access.app(app).await?.map(Some).ok_or_else(closed),
            },
            Visitor::Holder(token) => match self.access.entry(token, app.zip(right)).await? {
                Entry::Granted(app) => Ok(app),
                Entry::ReadsOnly => Err(RegistryError::ReadsOnly),
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

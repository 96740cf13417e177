use std::collections::BTreeMap;

use mayfly_control_store::{App, SealedSecret, SecretChange};
use mayfly_seal::SealError;
use mayfly_types::{AppId, ErrorKind, Secret, SecretName};

use crate::cloud::Cloud;
use crate::error::ApiError;

/// What a request says about the secrets of the machine it makes or changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretsWish {
    /// Start without any.
    pub(crate) skip: bool,
    /// Refuse to start with an older set.
    pub(crate) min_version: Option<u64>,
    /// This set, not the newest.
    pub(crate) at: Option<i64>,
}

/// The secrets a machine's version is made with, open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HandedSecrets {
    pub(crate) version: i64,
    pub(crate) values: BTreeMap<String, Secret>,
}

impl Cloud {
    /// The newest secrets of an app, for a machine of it.
    ///
    /// # Errors
    /// 422 for a `min_secrets_version` that does not exist; 500 if they were sealed with another key.
    pub(crate) async fn secrets_for(
        &self,
        app: &App,
        wish: SecretsWish,
    ) -> Result<HandedSecrets, ApiError> {
        let (version, sealed) = match wish.at {
            Some(version) => {
                let sealed = self.store.sealed_secrets_at(app.id, version).await?;
                (version, sealed)
            }
            None => self.store.sealed_secrets(app.id).await?,
        };
        if wish
            .min_version
            .is_some_and(|least| least > version.unsigned_abs())
        {
            return Err(ApiError::invalid(format!(
                "min_secrets_version {} does not exist: the app's secrets are at version {version}",
                wish.min_version.unwrap_or_default()
            )));
        }
        if wish.skip {
            return Ok(HandedSecrets::default());
        }
        Ok(HandedSecrets {
            version,
            values: self.opened(app.id, sealed)?,
        })
    }

    /// A value as the store keeps it.
    pub(super) fn sealed(&self, app: AppId, name: &SecretName, value: &str) -> SecretChange {
        let sealer = &self.certificates.sealer;
        let context = context(app, name);
        let sealed_value = sealer.seal(value.as_bytes(), &context, self.entropy.as_ref());
        let digest = sealer.fingerprint(value.as_bytes(), app.as_str());
        SecretChange::Set {
            sealed_value,
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn opened(
        &self,
        app: AppId,
        sealed: Vec<SealedSecret>,
    ) -> Result<BTreeMap<String, Secret>, ApiError> {
        let mut values = BTreeMap::new();
        for secret in sealed {
            let context = context(app, &secret.name);
            let sealer = &self.certificates.sealer;
            let plain = sealer.open_sealed(&secret.sealed_value, &context);
            let plain =
                plain.map_err(|error: SealError| ApiError::of_part(ErrorKind::Internal, &error))?;
            let text = String::from_utf8(plain).expect("values were text when they were sealed");
            values.insert(secret.name.to_string(), Secret::new(text));
        }
        Ok(values)
    }
}

/// A sealed value cannot be moved to another app or name.
fn context(app: AppId, name: &SecretName) -> String {
    format!("secret {name} of app {app}")
}

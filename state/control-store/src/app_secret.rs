//! An app's secrets: sealed values with a history, under a version that grows with every change.

use std::collections::BTreeMap;

use mayfly_db::{Reader, Row, Tx, args};
use mayfly_types::{AppId, InstanceId, MachineId, SecretName, Timestamp};
use serde_json::json;

use crate::event::{Subject, append};
use crate::{By, ControlStore, StoreError, app};

/// A secret without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSecret {
    pub name: SecretName,
    /// Recognises the value without revealing it.
    pub digest: String,
    /// The first version that has this value.
    pub since_version: i64,
    /// When the secret was first set.
    pub created_at: Timestamp,
    /// When it got this value.
    pub updated_at: Timestamp,
}

/// A secret's value as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    pub name: SecretName,
    pub sealed_value: Vec<u8>,
}

/// The secrets of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSet {
    /// 0 before anything was set.
    pub version: i64,
    /// By name.
    pub secrets: Vec<AppSecret>,
}

/// What shall become of one name.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretChange {
    Set {
        sealed_value: Vec<u8>,
        digest: String,
    },
    Unset,
}

/// Which values a machine's wanted version was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineSecrets {
    pub machine_id: MachineId,
    /// 0: with none.
    pub secrets_version: i64,
}

const VERSION: &str = "SELECT version FROM secrets_version WHERE app_id = $1";

const SET_VERSION: &str = "
    INSERT INTO secrets_version (app_id, version) VALUES ($1, $2)
    ON CONFLICT (app_id) DO UPDATE SET version = excluded.version";

const AT_VERSION: &str = "
    SELECT * FROM app_secret
     WHERE app_id = $1 AND since_version <= $2 AND (until_version IS NULL OR until_version > $2)
     ORDER BY name";

const CURRENT: &str = "
    SELECT * FROM app_secret WHERE app_id = $1 AND name = $2 AND until_version IS NULL";

const END: &str = "
    UPDATE app_secret SET until_version = $3 WHERE app_id = $1 AND name = $2 AND until_version IS NULL";

const INSERT: &str = "
    INSERT INTO app_secret
        (app_id, name, since_version, until_version, sealed_value, digest, created_at, updated_at)
    VALUES ($1, $2, $3, NULL, $4, $5, $6, $7)";

const OF_MACHINES: &str = "
    SELECT machine.id, COALESCE(machine_version_secrets.secrets_version, 0) AS secrets_version
      FROM machine LEFT JOIN machine_version_secrets
        ON machine_version_secrets.instance_id = machine.instance_id
     WHERE machine.app_id = $1 AND machine.destroyed_at IS NULL
     ORDER BY machine.id";

const REMEMBER: &str = "
    INSERT INTO machine_version_secrets (instance_id, secrets_version) VALUES ($1, $2)";

const VERSION_OF: &str = "
    SELECT secrets_version FROM machine_version_secrets WHERE instance_id = $1";

pub(crate) const FORGET_OF_MACHINE: &str = "
    DELETE FROM machine_version_secrets WHERE instance_id IN (
        SELECT instance_id FROM machine_version WHERE machine_id = $1)";

pub(crate) const FORGET_OF_VERSION: &str = "
    DELETE FROM machine_version_secrets WHERE instance_id = $1";

const FORGET_VALUES: &str = "DELETE FROM app_secret WHERE app_id = $1";

const FORGET_VERSION: &str = "DELETE FROM secrets_version WHERE app_id = $1";

impl ControlStore {
    /// The names and digests of an app's secrets now.
    pub async fn app_secrets(&self, app: AppId) -> Result<SecretSet, StoreError> {
        self.read(move |reader| {
            let version = version(reader, app)?;
            let rows = at_version(reader, app, version)?;
            let secrets: Result<Vec<AppSecret>, StoreError> = rows.iter().map(from_row).collect();
            Ok(SecretSet {
                version,
                secrets: secrets?,
            })
        })
        .await
    }

    /// The names and digests of an app's secrets at a version.
    pub async fn app_secrets_at(
        &self,
        app: AppId,
        version: i64,
    ) -> Result<Vec<AppSecret>, StoreError> {
        self.read(move |reader| {
            let rows = at_version(reader, app, version)?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// The sealed values of the newest version, with its number.
    pub async fn sealed_secrets(&self, app: AppId) -> Result<(i64, Vec<SealedSecret>), StoreError> {
        self.read(move |reader| {
            let version = version(reader, app)?;
            Ok((version, sealed(reader, app, version)?))
        })
        .await
    }

    /// The sealed values of one version. Of a version that there was not yet, those of the newest.
    pub async fn sealed_secrets_at(
        &self,
        app: AppId,
        version: i64,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        self.read(move |reader| sealed(reader, app, version)).await
    }

    /// With which version of its app's secrets a version of a machine starts; 0: with none.
    pub async fn secrets_version_of(&self, instance: InstanceId) -> Result<i64, StoreError> {
        self.read(move |reader| version_of(reader, instance.as_str()))
            .await
    }

    /// Sets and unsets secrets in one step and returns the version that makes. Values that are there already and names
    /// that are not there to be unset change nothing; if nothing changes, the version stays.
    ///
    /// # Errors
    /// `NotFound` for the app.
    pub async fn change_secrets(
        &self,
        app: AppId,
        changes: BTreeMap<SecretName, SecretChange>,
        by: By,
    ) -> Result<SecretSet, StoreError> {
        self.write(move |tx| apply(tx, app, changes, &by)).await
    }

    /// Makes the values of an earlier version current again, as a new version.
    ///
    /// # Errors
    /// `NotFound` for the app.
    pub async fn restore_secrets(
        &self,
        app: AppId,
        earlier: i64,
        by: By,
    ) -> Result<SecretSet, StoreError> {
        self.write(move |tx| {
            let newest = version(tx, app)?;
            let mut changes = BTreeMap::new();
            for row in at_version(tx, app, newest)? {
                changes.insert(row.parse("name")?, SecretChange::Unset);
            }
            for row in at_version(tx, app, earlier)? {
                let value = SecretChange::Set {
                    sealed_value: row.get("sealed_value")?,
                    digest: row.get("digest")?,
                };
                changes.insert(row.parse("name")?, value);
            }
            apply(tx, app, changes, &by)
        })
        .await
    }

    /// With which secrets each living machine of an app was made.
    pub async fn machines_secrets(&self, app: AppId) -> Result<Vec<MachineSecrets>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_MACHINES, args![app.as_str()])?;
            let machines = rows.iter().map(|row| {
                Ok(MachineSecrets {
                    machine_id: row.parse("id")?,
                    secrets_version: row.get("secrets_version")?,
                })
            });
            machines.collect()
        })
        .await
    }
}

fn apply(
    tx: &mut Tx<'_>,
    app: AppId,
    changes: BTreeMap<SecretName, SecretChange>,
    by: &By,
) -> Result<SecretSet, StoreError> {
    let app = app::by_id(tx, app)?;
    let before = version(tx, app.id)?;
    let next = before + 1;
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (name, change) in changes {
        let current = tx.row(CURRENT, args![app.id.as_str(), name.as_str()])?;
        let current = current.as_ref().map(from_row).transpose()?;
        match (change, current) {
            (SecretChange::Unset, None) => {}
            (SecretChange::Unset, Some(_)) => {
                tx.execute(END, args![app.id.as_str(), name.as_str(), next])?;
                unset.push(name);
            }
            (SecretChange::Set { digest, .. }, Some(same)) if same.digest == digest => {}
            (
                SecretChange::Set {
                    sealed_value,
                    digest,
                },
                current,
            ) => {
                tx.execute(END, args![app.id.as_str(), name.as_str(), next])?;
                let created_at = current.map_or(by.at, |current| current.created_at);
                tx.execute(
                    INSERT,
                    args![
                        app.id.as_str(),
                        name.as_str(),
                        next,
                        sealed_value.as_slice(),
                        digest.as_str(),
                        created_at,
                        by.at
                    ],
                )?;
                set.push(json!({ "name": name, "digest": digest }));
            }
        }
    }
    if !set.is_empty() || !unset.is_empty() {
        tx.execute(SET_VERSION, args![app.id.as_str(), next])?;
        append(
            tx,
            by,
            "secrets.update",
            &Subject::app(app.org_id, app.id, &app.name),
            Some(&json!({ "version": before })),
            Some(&json!({ "version": next, "set": set, "unset": unset })),
        )?;
    }
    let version = version(tx, app.id)?;
    let rows = at_version(tx, app.id, version)?;
    let secrets: Result<Vec<AppSecret>, StoreError> = rows.iter().map(from_row).collect();
    Ok(SecretSet {
        version,
        secrets: secrets?,
    })
}

/// Notes with which secrets a version of a machine starts.
pub(crate) fn remember(
    tx: &mut Tx<'_>,
    instance_id: &str,
    secrets_version: i64,
) -> Result<(), StoreError> {
    if secrets_version > 0 {
        tx.execute(REMEMBER, args![instance_id, secrets_version])?;
    }
    Ok(())
}

/// With which secrets a version of a machine starts; 0: with none.
pub(crate) fn version_of(reader: &mut Reader<'_>, instance_id: &str) -> Result<i64, StoreError> {
    let row = reader.row(VERSION_OF, args![instance_id])?;
    Ok(row.map_or(Ok(0), |row| row.get("secrets_version"))?)
}

/// Removes the secrets of a deleted app, history included: nothing can come back to them.
pub(crate) fn forget_app(tx: &mut Tx<'_>, app: AppId) -> Result<(), StoreError> {
    tx.execute(FORGET_VALUES, args![app.as_str()])?;
    tx.execute(FORGET_VERSION, args![app.as_str()])?;
    Ok(())
}

fn version(reader: &mut Reader<'_>, app: AppId) -> Result<i64, StoreError> {
    let row = reader.row(VERSION, args![app.as_str()])?;
    Ok(row.map_or(Ok(0), |row| row.get("version"))?)
}

fn at_version(reader: &mut Reader<'_>, app: AppId, version: i64) -> Result<Vec<Row>, StoreError> {
    Ok(reader.rows(AT_VERSION, args![app.as_str(), version])?)
}

fn sealed(
    reader: &mut Reader<'_>,
    app: AppId,
    version: i64,
) -> Result<Vec<SealedSecret>, StoreError> {
    let rows = at_version(reader, app, version)?;
    let secrets = rows.iter().map(|row| {
        Ok(SealedSecret {
            name: row.parse("name")?,
            sealed_value: row.get("sealed_value")?,
        })
    });
    secrets.collect()
}

fn from_row(row: &Row) -> Result<AppSecret, StoreError> {
    Ok(AppSecret {
        name: row.parse("name")?,
        digest: row.get("digest")?,
        since_version: row.get("since_version")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

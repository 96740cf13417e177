use std::path::Path;
use std::sync::Arc;

use mayfly_db::{Db, args};
use mayfly_runtime::Entropy;
use mayfly_types::HostId;

use crate::StoreError;
use crate::record::Records;
use crate::schema::MIGRATIONS;

/// The journal. Clones share it.
#[derive(Clone, Debug)]
pub struct HostStore {
    pub(crate) db: Db,
    pub(crate) records: Records,
}

/// What a host learns when it opens its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The host's own id, chosen at the first start.
    pub host_id: HostId,
    /// Whether the server was booted since the journal was last open.
    pub rebooted: bool,
}

/// Opens the secrets of machines; without it the journal is of no use to a thief.
const KEY_FILE: &str = "sealing.key";

const HOST: &str = "SELECT host_id, boot_id FROM host WHERE one = 1";
const ENROL: &str = "INSERT INTO host (one, host_id, boot_id) VALUES (1, $1, $2)";
const SET_BOOT: &str = "UPDATE host SET boot_id = $1 WHERE one = 1";

impl HostStore {
    /// Opens the journal at `path`, making it if missing, and beside it the key of the machines' secrets. `fresh` becomes
    /// the host's id if it has none.
    ///
    /// The boot is recorded by [`HostStore::recovered`] only, so that a crash in the middle of a recovery repeats it.
    pub async fn open(
        path: &Path,
        fresh: HostId,
        boot_id: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(HostStore, Opened), StoreError> {
        let db = Db::open(&format!("sqlite://{}", path.display())).await?;
        db.migrate(MIGRATIONS).await?;
        let key = path.with_file_name(KEY_FILE);
        let records = Records::open(&key, entropy).map_err(StoreError::Key)?;
        let boot_id = boot_id.to_owned();
        let opened = db
            .write(move |tx| -> Result<Opened, StoreError> {
                match tx.row(HOST, &[])? {
                    Some(row) => Ok(Opened {
                        host_id: row.parse("host_id")?,
                        rebooted: row.get::<String>("boot_id")? != boot_id,
                    }),
                    None => {
                        tx.execute(ENROL, args![fresh.as_str(), boot_id])?;
                        Ok(Opened {
                            host_id: fresh,
                            rebooted: false,
                        })
                    }
                }
            })
            .await?;
        Ok((HostStore { db, records }, opened))
    }

    /// Every machine has been looked at after a boot.
    pub async fn recovered(&self, boot_id: &str) -> Result<(), StoreError> {
        let boot_id = boot_id.to_owned();
        self.db
            .write(move |tx| -> Result<(), StoreError> {
                tx.execute(SET_BOOT, args![boot_id])?;
                Ok(())
            })
            .await
    }
}

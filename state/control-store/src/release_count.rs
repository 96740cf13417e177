//! How many machines an app had where when a release was live.

use mayfly_db::{Tx, args};
use mayfly_types::{AppId, Region, ReleaseId};

use crate::{ControlStore, StoreError};

/// The machines of one process group in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCount {
    pub group: String,
    pub region: Region,
    pub machines: i64,
}

const FORGET: &str = "DELETE FROM release_count WHERE release_id = $1";

const INSERT: &str = "
    INSERT INTO release_count (release_id, process_group, region, machines) VALUES ($1, $2, $3, $4)";

const OF: &str = "
    SELECT process_group, region, machines FROM release_count WHERE release_id = $1
     ORDER BY process_group, region";

const FORGET_APP: &str = "
    DELETE FROM release_count WHERE release_id IN (SELECT id FROM release WHERE app_id = $1)";

impl ControlStore {
    /// Writes down the machines of a release, in the place of what was written before.
    pub async fn set_release_counts(
        &self,
        id: ReleaseId,
        counts: Vec<MachineCount>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(FORGET, args![id.as_str()])?;
            for count in &counts {
                let region = count.region.as_str();
                let values = args![id.as_str(), count.group.as_str(), region, count.machines];
                tx.execute(INSERT, values)?;
            }
            Ok(())
        })
        .await
    }

    /// By group and region; empty for a release that was never live.
    pub async fn release_counts(&self, id: ReleaseId) -> Result<Vec<MachineCount>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF, args![id.as_str()])?;
            let counts = rows.iter().map(|row| {
                Ok(MachineCount {
                    group: row.get("process_group")?,
                    region: row.parse("region")?,
                    machines: row.get("machines")?,
                })
            });
            counts.collect()
        })
        .await
    }
}

pub(crate) fn forget_app(tx: &mut Tx<'_>, app: AppId) -> Result<(), StoreError> {
    tx.execute(FORGET_APP, args![app.as_str()])?;
    Ok(())
}

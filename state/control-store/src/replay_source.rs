use std::collections::BTreeMap;

use mayfly_db::{Reader, args};
use mayfly_types::OrgId;
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, Org, StoreError, organization};

const OF_ORG: &str = "
    SELECT organization.* FROM replay_source
      JOIN organization ON organization.id = replay_source.source_org_id
     WHERE replay_source.org_id = $1 ORDER BY organization.slug";

const ALL: &str = "SELECT org_id, source_org_id FROM replay_source ORDER BY org_id, source_org_id";

const INSERT: &str = "
    INSERT INTO replay_source (org_id, source_org_id, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (org_id, source_org_id) DO NOTHING";

const DELETE: &str = "DELETE FROM replay_source WHERE org_id = $1 AND source_org_id = $2";

impl ControlStore {
    /// Whose apps may replay requests to apps of `org`, by slug. The organization itself among them means that its
    /// networks may replay to each other.
    pub async fn replay_sources(&self, org: OrgId) -> Result<Vec<Org>, StoreError> {
        self.read(move |reader| {
            let rows = reader.rows(OF_ORG, args![org.as_str()])?;
            rows.iter().map(organization::from_row).collect()
        })
        .await
    }

    /// Lets apps of `source` replay to apps of `org`; twice is once.
    pub async fn add_replay_source(
        &self,
        org: OrgId,
        source: OrgId,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let values = args![org.as_str(), source.as_str(), by.at];
            if tx.execute(INSERT, values)? == 0 {
                return Ok(());
            }
            let after = json!({ "source": source });
            let subject = Subject::org(org);
            append(
                tx,
                &by,
                "replay_source.add",
                &subject,
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// Takes that back; what was never granted is already gone.
    pub async fn remove_replay_source(
        &self,
        org: OrgId,
        source: OrgId,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            if tx.execute(DELETE, args![org.as_str(), source.as_str()])? == 0 {
                return Ok(());
            }
            let before = json!({ "source": source });
            let subject = Subject::org(org);
            append(
                tx,
                &by,
                "replay_source.remove",
                &subject,
                Some(&before),
                NOTHING,
            )
        })
        .await
    }
}

/// All grants, by the organization that gave them: there are as few as people who know of each other.
pub(crate) fn all(reader: &mut Reader<'_>) -> Result<BTreeMap<OrgId, Vec<OrgId>>, StoreError> {
    let mut sources: BTreeMap<OrgId, Vec<OrgId>> = BTreeMap::new();
    for row in &reader.rows(ALL, &[])? {
        let granted = sources.entry(row.parse("org_id")?).or_default();
        granted.push(row.parse("source_org_id")?);
    }
    Ok(sources)
}

use mayfly_db::{Row, Tx, args};
use mayfly_host_api::HostEvent;
use mayfly_types::{HostSeq, MachineId, Timestamp};

use crate::address::count;
use crate::record::{REPORT_VERSION, decode_report, encode_report};
use crate::{HostStore, StoreError};

const APPEND: &str = "
    INSERT INTO report (seq, machine_id, at, record_version, record) VALUES ($1, $2, $3, $4, $5)";
const AFTER: &str = "
    SELECT seq, machine_id, record_version, record FROM report WHERE seq > $1 ORDER BY seq LIMIT $2";
const NEWEST: &str = "SELECT COALESCE(MAX(value), 0) AS seq FROM counter WHERE name = 'report'";
const DROP_OLD: &str = "DELETE FROM report WHERE at < $1";

/// Appends a report under the next number.
pub(crate) fn append(tx: &mut Tx<'_>, report: &HostEvent) -> Result<HostSeq, StoreError> {
    let seq = HostSeq(count(tx, "report")?);
    tx.execute(
        APPEND,
        args![
            seq.0,
            report.machine_id.as_str(),
            report.at,
            REPORT_VERSION,
            encode_report(report)
        ],
    )?;
    Ok(seq)
}

fn decode(row: &Row) -> Result<HostEvent, StoreError> {
    let seq = HostSeq(row.get("seq")?);
    let machine_id: MachineId = row.parse("machine_id")?;
    let record: String = row.get("record")?;
    let mut event = decode_report(machine_id, row.get("record_version")?, &record)?;
    event.seq = seq;
    event.report.seq = seq;
    Ok(event)
}

impl HostStore {
    /// Reports after `after`, oldest first, at most `limit`.
    pub async fn reports_after(
        &self,
        after: HostSeq,
        limit: usize,
    ) -> Result<Vec<HostEvent>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .read(move |reader| {
                let rows = reader.rows(AFTER, args![after.0, limit])?;
                rows.iter().map(decode).collect()
            })
            .await
    }

    /// The number of the newest report ever; 0 if there was none.
    pub async fn newest_report(&self) -> Result<HostSeq, StoreError> {
        self.db
            .read(|reader| {
                let row = reader.row(NEWEST, &[])?;
                let row = row.expect("an aggregate has one row");
                Ok(HostSeq(row.get("seq")?))
            })
            .await
    }

    /// Drops reports from before `before`; returns how many. Their numbers are not used again.
    pub async fn drop_reports(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.db
            .write(move |tx| Ok(tx.execute(DROP_OLD, args![before])?))
            .await
    }
}

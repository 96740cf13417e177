use mayfly_types::MachineId;
use serde_json::json;

use super::by_id;
use crate::event::append;
use crate::{By, ControlStore, StoreError};

impl ControlStore {
    /// Tells that a running machine's memory limit, in MiB, has been changed by hand. The limit itself is its host's and
    /// ends with this run: the log is the only place that remembers it.
    ///
    /// # Errors
    /// `NotFound` for the machine.
    pub async fn note_memory_limit(
        &self,
        machine: MachineId,
        before_mib: u32,
        after_mib: u32,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let machine = by_id(tx, machine)?;
            append(
                tx,
                &by,
                "machine.memory",
                &machine.subject(),
                Some(&json!({ "limit_mb": before_mib })),
                Some(&json!({ "limit_mb": after_mib })),
            )
        })
        .await
    }
}

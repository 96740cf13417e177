//! Machines that are on their way to a release are leased by it, so that nobody changes them meanwhile.

use std::time::Duration;

use mayfly_control_store::{Machine, NewLease, Release, StoreError};

use crate::cloud::Cloud;

/// Renewed at half time.
const TTL: Duration = Duration::from_secs(60);

impl Cloud {
    /// What a release's own lease is known by: nobody can tell it from the release's id.
    pub(super) fn release_nonce(&self, release: &Release) -> String {
        let mark = self
            .certificates
            .sealer
            .fingerprint(release.id.as_str().as_bytes(), "lease of a release");
        mark.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) async fn lease_for(
        &self,
        release: &Release,
        machine: &Machine,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let nonce = self.release_nonce(release);
        let held = machine.lease_at(now).filter(|lease| lease.nonce == nonce);
        if held.is_some_and(|lease| lease.expires_at.until(now) > TTL / 2) {
            return Ok(());
        }
        let lease = NewLease {
            nonce: nonce.clone(),
            owner: release.owner.clone(),
            description: Some(format!("release v{}", release.number)),
            expires_at: now + TTL,
        };
        let renewed = held.map(|_| nonce);
        let by = self.by_platform();
        self.store
            .take_lease(machine.id, lease, renewed, by)
            .await?;
        Ok(())
    }

    /// Gives the lease back, if the release has it.
    pub(super) async fn unlease(
        &self,
        release: &Release,
        machine: &Machine,
    ) -> Result<(), StoreError> {
        let nonce = self.release_nonce(release);
        let by = self.by_platform();
        match self.store.release_lease(machine.id, nonce, by).await {
            Err(StoreError::NoLease | StoreError::Leased { .. } | StoreError::NotFound { .. }) => {
                Ok(())
            }
            other => other,
        }
    }
}

use std::time::Duration;

use mayfly_control_store::{By, Org, StoredSshAuthority};
use mayfly_ssh::SigningKey;
use tracing::error;

use crate::cloud::Cloud;
use crate::error::ApiError;

/// How long the first certificate of an organization waits for hosts of this process to hear of the authority.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(2);

/// The organization's authority, made now if it has none.
pub(super) async fn authority(cloud: &Cloud, org: &Org, by: By) -> Result<SigningKey, ApiError> {
    let stored = match cloud.store.ssh_authority(org.id).await? {
        Some(stored) => stored,
        None => make(cloud, org, by).await?,
    };
    let context = sealing_context(org);
    let sealer = &cloud.certificates.sealer;
    let seed = sealer.open_sealed(&stored.sealed_key, &context);
    let key = seed
        .map_err(|error| unusable(&error))
        .and_then(|seed| SigningKey::from_seed(&seed).map_err(|error| unusable(&error)))?;
    let mut published = cloud.directory.subscribe();
    let is_known = |directory: &std::sync::Arc<mayfly_edge_api::Directory>| {
        let mut known = directory.ssh_authorities.iter();
        known.any(|authority| authority.org_id == org.id)
    };
    // Should it be late, the certificate is good all the same, a moment later.
    let _ = tokio::time::timeout(PUBLISHED_WITHIN, published.wait_for(is_known)).await;
    Ok(key)
}

async fn make(cloud: &Cloud, org: &Org, by: By) -> Result<StoredSshAuthority, ApiError> {
    let seed: [u8; 32] = cloud.entropy.bytes();
    let key = SigningKey::from_seed(&seed).map_err(|error| unusable(&error))?;
    let sealer = &cloud.certificates.sealer;
    let new = StoredSshAuthority {
        org_id: org.id,
        public_key: key.public().to_string(),
        sealed_key: sealer.seal(&seed, &sealing_context(org), cloud.entropy.as_ref()),
        created_at: cloud.now(),
    };
    Ok(cloud.store.put_ssh_authority(new, by).await?)
}

fn sealing_context(org: &Org) -> String {
    format!("ssh authority {}", org.id)
}

fn unusable(source: &(dyn std::error::Error + 'static)) -> ApiError {
    error!(
        error = mayfly_runtime::report(source),
        "an SSH authority cannot be used"
    );
    ApiError::internal()
}

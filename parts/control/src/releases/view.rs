use mayfly_control_store::Release;
use mayfly_wire::ReleaseUser;

use super::options::Options;

/// A release as lists show it.
pub(super) fn summary(release: Release) -> mayfly_wire::Release {
    mayfly_wire::Release {
        config: None,
        ..whole(release)
    }
}

/// A release with its configuration.
pub(super) fn whole(release: Release) -> mayfly_wire::Release {
    let options: Options = serde_json::from_value(release.options).unwrap_or_default();
    let running = release.finished_at.is_none();
    mayfly_wire::Release {
        id: release.id.to_string(),
        version: release.number,
        status: release.status.to_string(),
        stage: if running {
            release.stage
        } else {
            String::new()
        },
        description: release.description,
        image_ref: release
            .image
            .map(|image| image.to_string())
            .unwrap_or_default(),
        strategy: options.strategy,
        secrets_version: release.secrets_version.unsigned_abs(),
        user: ReleaseUser {
            email: release.owner,
        },
        created_at: Some(release.created_at),
        finished_at: release.finished_at,
        failure: release.failure,
        events_after: None,
        secrets: None,
        machines: None,
        config: release.config,
    }
}

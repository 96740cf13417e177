use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use mayfly_control::CertificateDeps;
use mayfly_control_store::ControlStore;
use mayfly_runtime::{Clock, Entropy};
use tokio::net::TcpListener;

use crate::config::{Config, StoreLocation};
use crate::control_plane::StoreAccess;
use crate::host_places;
use crate::readiness::Readiness;

/// What the control plane is built from, opened before anything else.
pub(super) struct ControlGround {
    pub(super) listener: TcpListener,
    pub(super) access: StoreAccess,
    /// `None` while it is away.
    pub(super) store: Option<ControlStore>,
    pub(super) certificates: CertificateDeps,
}

impl ControlGround {
    pub(super) async fn open(
        config: &Config,
        inherited: &[std::net::TcpListener],
        readiness: &mut Readiness,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> anyhow::Result<Self> {
        let listener = listen(config.api_listen, inherited)
            .await
            .with_context(|| format!("listen on {} for the API", config.api_listen))?;
        readiness.step("opening the store")?;
        // A cloud that never ran has nothing to go on with meanwhile.
        let knows_something = !host_places::all(&config.data_dir)?.is_empty();
        let access = StoreAccess {
            url: store_url(&config.store),
            may_be_away: knows_something && matches!(config.store, StoreLocation::Postgres(_)),
            data_dir: config.data_dir.clone(),
            domain: config.domain.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let store = access.open().await?;
        let certificates = config.certificates.open(&config.data_dir, clock, entropy)?;
        Ok(Self {
            listener,
            access,
            store,
            certificates,
        })
    }
}

/// The inherited listener for this address, or a new one.
async fn listen(
    address: SocketAddr,
    inherited: &[std::net::TcpListener],
) -> std::io::Result<TcpListener> {
    let same = |listener: &&std::net::TcpListener| {
        listener.local_addr().is_ok_and(|bound| bound == address)
    };
    let Some(held) = inherited.iter().find(same) else {
        return TcpListener::bind(address).await;
    };
    let copy = held.try_clone()?;
    copy.set_nonblocking(true)?;
    TcpListener::from_std(copy)
}

fn store_url(location: &StoreLocation) -> String {
    match location {
        StoreLocation::File(path) => sqlite_url(path),
        StoreLocation::Postgres(url) => url.reveal().to_owned(),
    }
}

fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

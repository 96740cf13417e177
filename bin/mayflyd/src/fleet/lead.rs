use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mayfly_certs::{RoleAuthority, RoleKey};
use mayfly_fleet_api::{Roster, TunnelEnd};
use mayfly_net::{MutualTls, RolePapers};
use mayfly_runtime::{Clock, Entropy, Stop};
use tokio::sync::watch;
use tracing::{error, info, warn};

/// The first server's part in its fleet.
pub(super) struct Lead {
    pub(super) authority: Arc<RoleAuthority>,
    pub(super) key: RoleKey,
    pub(super) names: Vec<String>,
    pub(super) lifetime: Duration,
    pub(super) address: String,
    pub(super) tunnel: Option<TunnelEnd>,
    pub(super) roster: watch::Sender<Arc<Roster>>,
    /// Where it is kept for a start without the control store.
    pub(super) roster_file: PathBuf,
}

impl Lead {
    pub(super) fn sign(&self, clock: &dyn Clock, entropy: &dyn Entropy) -> anyhow::Result<String> {
        self.authority
            .sign(
                &self.key.request,
                &self.names,
                self.lifetime,
                clock.now(),
                entropy,
            )
            .context("sign this server's identity")
    }

    pub(super) fn papers<'a>(&'a self, chain: &'a str) -> RolePapers<'a> {
        RolePapers {
            chain,
            key: self.key.key.reveal(),
            root: self.authority.root_pem(),
        }
    }

    /// Signs this server's own certificate anew when a third of its life is over.
    pub(super) async fn keep_fresh(
        self: Box<Self>,
        tls: Arc<MutualTls>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        stop: Stop,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.lifetime / 3) => {}
            }
            let renewed = self.sign(&*clock, &*entropy).and_then(|chain| {
                let papers = self.papers(&chain);
                Ok(tls.renew(&papers)?)
            });
            match renewed {
                Ok(()) => info!("identity renewed"),
                Err(problem) => error!(error = format!("{problem:#}"), "identity not renewed"),
            }
        }
    }
}

pub(super) fn kept_roster(file: &Path) -> Roster {
    let text = std::fs::read(file).ok();
    let roster = text.and_then(|text| serde_json::from_slice(&text).ok());
    roster.unwrap_or_default()
}

pub(super) async fn keep_roster(
    mut roster: watch::Receiver<Arc<Roster>>,
    file: PathBuf,
    stop: Stop,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = roster.changed() => if changed.is_err() { return },
        }
        let text = serde_json::to_vec(&**roster.borrow_and_update());
        let kept = text
            .map_err(std::io::Error::other)
            .and_then(|text| mayfly_seal::write_private(&file, &text));
        if let Err(problem) = kept {
            warn!(path = %file.display(), error = %problem, "roster not written");
        }
    }
}

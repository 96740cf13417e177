use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_control_store::{By, ControlStore, StoreError};
use mayfly_edge_api::GatewayApi;
use mayfly_runtime::{Clock, LoopHandle, LoopStatus, Stop, report};
use mayfly_types::{PeerKey, Timestamp};
use tracing::info;

const EVERY: Duration = Duration::from_secs(30);
/// A device's last handshake is written down again when it is so much later: they happen every two minutes.
const NOTE_AFTER: Duration = Duration::from_secs(600);
/// Devices that clients enter by themselves are entered anew when they are gone.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Notes when devices were heard, and takes away those that clients made and nobody uses.
pub(crate) struct Keeper {
    pub(crate) store: ControlStore,
    pub(crate) gateways: Vec<Arc<dyn GatewayApi>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: LoopHandle,
}

impl Keeper {
    pub(crate) async fn run(self, stop: Stop) {
        let mut noted = BTreeMap::new();
        while !stop.is_cancelled() {
            let began = self.clock.now();
            let mut status = LoopStatus {
                ran_at: Some(began),
                ..LoopStatus::default()
            };
            match self.turn(began, &mut noted).await {
                Ok(applied) => status.applied = applied,
                Err(error) => status.last_error = Some(report(&error)),
            }
            status.took = self.clock.now().since(began);
            self.status.publish(status);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn turn(
        &self,
        now: Timestamp,
        noted: &mut BTreeMap<PeerKey, Timestamp>,
    ) -> Result<u64, StoreError> {
        let reports = self.gateways.iter().flat_map(|gateway| gateway.peers());
        let heard: BTreeMap<PeerKey, Timestamp> = reports
            .filter_map(|report| Some((report.public_key, now - report.last_handshake?)))
            .filter(|(key, at)| {
                noted
                    .get(key)
                    .is_none_or(|before| *before + NOTE_AFTER < *at)
            })
            .collect();
        let mut applied = heard.len() as u64;
        if !heard.is_empty() {
            self.store.note_wireguard_peers(heard.clone()).await?;
            noted.extend(heard);
        }
        let by = By::platform(now);
        let gone = self.store.expire_wireguard_peers(now - UNUSED, by).await?;
        for peer in gone {
            info!(peer = peer.name, "an unused device of a client was removed");
            applied += 1;
        }
        Ok(applied)
    }
}

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use mayfly_edge_api::PeerReport;
use mayfly_types::PeerKey;

/// Where devices with a living session were heard last, in a file: after a restart the gateway calls them, and nobody
/// waits for a device to notice.
#[derive(Debug)]
pub(crate) struct Endpoints {
    path: PathBuf,
    at_start: BTreeMap<PeerKey, SocketAddr>,
    written: BTreeMap<PeerKey, SocketAddr>,
}

impl Endpoints {
    /// What an earlier process left. A file that cannot be read is no memory.
    pub(crate) fn open(path: PathBuf) -> Endpoints {
        let at_start: BTreeMap<PeerKey, SocketAddr> = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Endpoints {
            path,
            written: at_start.clone(),
            at_start,
        }
    }

    /// What was known when this process began.
    pub(crate) fn at_start(&self) -> &BTreeMap<PeerKey, SocketAddr> {
        &self.at_start
    }

    /// Writes down where devices are now, if that has changed. Blocks on the disk, for a small file.
    pub(crate) fn keep(&mut self, peers: &[PeerReport]) -> io::Result<()> {
        let living = peers.iter().filter(|peer| peer.is_connected());
        let now: BTreeMap<PeerKey, SocketAddr> = living
            .filter_map(|peer| Some((peer.public_key, peer.endpoint?)))
            .collect();
        if now == self.written {
            return Ok(());
        }
        let beside = self.path.with_extension("endpoints.new");
        fs::write(&beside, serde_json::to_vec(&now)?)?;
        fs::rename(&beside, &self.path)?;
        self.written = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn connected_devices_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("iad.endpoints");
        let report = |number: u8, seconds: Option<u64>| PeerReport {
            public_key: PeerKey::from_bytes([number; 32]),
            last_handshake: seconds.map(Duration::from_secs),
            rx_bytes: 0,
            tx_bytes: 0,
            endpoint: Some(([192, 0, 2, number], 1).into()),
        };
        let peers = [report(1, Some(5)), report(2, Some(500)), report(3, None)];
        Endpoints::open(path.clone()).keep(&peers).unwrap();
        let known = Endpoints::open(path);
        let keys: Vec<&PeerKey> = known.at_start().keys().collect();
        assert_eq!(keys, [&peers[0].public_key]);
    }
}

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use mayfly_edge_api::{Directory, DirectoryApp};
use mayfly_fleet_api::{ControlDoor, FeedMessage};
use mayfly_types::{AppId, HostId};

use crate::line::{ALIVE_EVERY, Line};

/// Apps of one message.
const APPS_MAX: usize = 256;

/// Tells a server the roster and the directory, and what changes, until the connection breaks or the server is no
/// longer of the fleet.
pub(super) async fn publish(
    control: &dyn ControlDoor,
    server: HostId,
    line: Line,
) -> io::Result<()> {
    let Line {
        mut reader,
        mut writer,
    } = line;
    let mut directory = control.directory();
    let mut roster = control.roster();
    let mut told = Arc::new(Directory::default());
    let mut begins = true;
    roster.mark_changed();
    let closed = reader.next();
    tokio::pin!(closed);
    loop {
        if roster.has_changed().map_err(io::Error::other)? {
            let now = roster.borrow_and_update().clone();
            // It asks again and is told why.
            if now.server(server).is_none() && !begins {
                return Ok(());
            }
            writer.message(&FeedMessage::Roster((*now).clone())).await?;
        }
        let now = directory.borrow_and_update().clone();
        if begins {
            writer.message(&FeedMessage::Begin).await?;
        }
        if begins || !Arc::ptr_eq(&told, &now) {
            for message in difference(&told, &now) {
                writer.message(&message).await?;
            }
            writer.message(&FeedMessage::Current).await?;
        }
        (told, begins) = (now, false);
        tokio::select! {
            _ = &mut closed => return Ok(()),
            changed = directory.changed() => changed.map_err(io::Error::other)?,
            changed = roster.changed() => {
                changed.map_err(io::Error::other)?;
                roster.mark_changed();
            }
            () = tokio::time::sleep(ALIVE_EVERY) => writer.message(&FeedMessage::Alive).await?,
        }
    }
}

fn difference(old: &Directory, new: &Directory) -> Vec<FeedMessage> {
    let mut before: BTreeMap<AppId, &Arc<DirectoryApp>> =
        old.apps.iter().map(|app| (app.app_id, app)).collect();
    let mut changed = Vec::new();
    for app in &new.apps {
        let known = before.remove(&app.app_id);
        if !known.is_some_and(|known| Arc::ptr_eq(known, app)) {
            changed.push(app.clone());
        }
    }
    let mut messages = Vec::new();
    if !before.is_empty() {
        messages.push(FeedMessage::Apps {
            changed: Vec::new(),
            removed: before.into_keys().collect(),
        });
    }
    for apps in changed.chunks(APPS_MAX) {
        messages.push(FeedMessage::Apps {
            changed: apps.to_vec(),
            removed: Vec::new(),
        });
    }
    let same_certificates = old.certificates.len() == new.certificates.len()
        && old
            .certificates
            .iter()
            .zip(&new.certificates)
            .all(|(one, other)| Arc::ptr_eq(one, other));
    if !same_certificates || old.challenges != new.challenges {
        messages.push(FeedMessage::Certificates {
            certificates: new.certificates.clone(),
            challenges: new.challenges.clone(),
        });
    }
    let same_peers = old.peers.len() == new.peers.len()
        && old
            .peers
            .iter()
            .zip(&new.peers)
            .all(|(one, other)| Arc::ptr_eq(one, other));
    if !same_peers {
        messages.push(FeedMessage::Peers(new.peers.clone()));
    }
    if old.ssh_authorities != new.ssh_authorities {
        let authorities = new.ssh_authorities.clone();
        messages.push(FeedMessage::SshAuthorities(authorities));
    }
    messages
}

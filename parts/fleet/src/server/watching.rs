use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use mayfly_fleet_api::WatchMessage;
use mayfly_host_api::{Catalog, CatalogEntry, HostApi};
use mayfly_types::MachineId;

use crate::line::{ALIVE_EVERY, Line};

/// Entries of one message.
const ENTRIES_MAX: usize = 256;

/// Tells whoever watches the host what it has, and what changes, until the connection breaks.
pub(super) async fn publish(host: &dyn HostApi, line: Line) -> io::Result<()> {
    let Line {
        mut reader,
        mut writer,
    } = line;
    let mut latest = host.latest();
    let mut catalog = host.catalog();
    let mut told_status = host.status().await;
    writer
        .message(&WatchMessage::Status(Box::new(told_status.clone())))
        .await?;
    let seq = *latest.borrow_and_update();
    writer.message(&WatchMessage::Latest(seq)).await?;
    let mut told = Catalog::default();
    let mut is_whole = true;
    // Nothing is to be heard here; an end is seen at once.
    let closed = reader.next();
    tokio::pin!(closed);
    loop {
        let now = catalog.borrow_and_update().clone();
        for message in difference(&told, &now, is_whole) {
            writer.message(&message).await?;
        }
        (told, is_whole) = (now, false);
        tokio::select! {
            _ = &mut closed => return Ok(()),
            changed = catalog.changed() => changed.map_err(io::Error::other)?,
            changed = latest.changed() => {
                changed.map_err(io::Error::other)?;
                let seq = *latest.borrow_and_update();
                writer.message(&WatchMessage::Latest(seq)).await?;
            }
            () = tokio::time::sleep(ALIVE_EVERY) => {
                let status = host.status().await;
                if status == told_status {
                    writer.message(&WatchMessage::Alive).await?;
                } else {
                    told_status = status.clone();
                    writer.message(&WatchMessage::Status(Box::new(status))).await?;
                }
            }
        }
    }
}

/// What makes `old` into `new`, in messages of which the last is complete; a whole is at least one message.
fn difference(old: &Catalog, new: &Catalog, is_whole: bool) -> Vec<WatchMessage> {
    if Arc::ptr_eq(old, new) && !is_whole {
        return Vec::new();
    }
    let mut before: BTreeMap<MachineId, &Arc<CatalogEntry>> =
        old.iter().map(|entry| (entry.machine_id, entry)).collect();
    let mut changed = Vec::new();
    for entry in new.iter() {
        let known = before.remove(&entry.machine_id);
        if !known.is_some_and(|known| Arc::ptr_eq(known, entry)) {
            changed.push((**entry).clone());
        }
    }
    let mut removed: Vec<MachineId> = before.into_keys().collect();
    if changed.is_empty() && removed.is_empty() && !is_whole {
        return Vec::new();
    }
    let mut messages = Vec::new();
    loop {
        let rest = changed.split_off(changed.len().min(ENTRIES_MAX));
        let complete = rest.is_empty();
        messages.push(WatchMessage::Entries {
            changed: std::mem::replace(&mut changed, rest),
            removed: std::mem::take(&mut removed),
            complete,
        });
        if complete {
            return messages;
        }
    }
}

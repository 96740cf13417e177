//! `GET /api/v1/apps/<app>/logs`: an app's lines, page by page.

mod cursor;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use mayfly_control_store::Machine;
use mayfly_host_api::{HostApi, HostError, LogEntry, LogPage, LogQuery};
use mayfly_types::{HostId, MachineId};
use serde_json::{Value, json};

use crate::access::{AppAccess, Lasting};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;
use cursor::Cursor;

/// Lines of a first page, which are the newest there are.
const RECENT: usize = 200;
const LIMIT: i64 = 100;
const LIMIT_MAX: i64 = 1000;
/// Seconds an empty answer is held back, unless the caller says otherwise.
const WAIT: i64 = 1;
const WAIT_MAX: i64 = 30;

/// Lines after `next_token`, oldest first. Without a token: the newest, and nothing is waited for.
pub(crate) async fn page(
    State(cloud): State<Arc<Cloud>>,
    Lasting { access, standing }: Lasting<AppAccess>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let token = query.text("next_token");
    let mut cursor = token.map(str::parse::<Cursor>).transpose()?;
    let machines = machines(&cloud, &access, &query).await?;
    let limit = query.number("limit", 1, LIMIT_MAX)?;
    let wait = query.number("wait", 0, WAIT_MAX)?;
    let first = cursor.is_none();
    let limit = limit.map_or(if first { RECENT } else { LIMIT as usize }, |limit| {
        usize::try_from(limit).unwrap_or(RECENT)
    });
    let known = cursor.get_or_insert_default();
    let wanted = LogQuery {
        machines: machines.keys().map(|id| (*id, known.of(*id))).collect(),
        tail: first.then_some(limit),
        limit,
        patience: match (first, wait) {
            (_, Some(seconds)) => Duration::from_secs(seconds.unsigned_abs()),
            (true, None) => Duration::ZERO,
            (false, None) => Duration::from_secs(WAIT.unsigned_abs()),
        },
    };
    let page = tokio::select! {
        page = lines(&cloud, &machines, wanted) => page?,
        // An empty page sends the reader back with the same token.
        () = cloud.stop.cancelled() => LogPage::default(),
        refused = standing.lost(|_| Ok(())) => return Err(refused),
    };
    for (machine, seq) in page.cursors {
        known.advance(machine, seq);
    }
    let lines: Vec<Value> = page
        .entries
        .iter()
        .map(|entry| {
            let machine = machines.get(&entry.machine_id);
            line(entry, machine.map_or("", |machine| machine.region.as_str()))
        })
        .collect();
    Ok(Json(
        json!({ "data": lines, "meta": { "next_token": known.to_string() } }),
    ))
}

/// A page of lines from all hosts of the machines, as soon as one of them has some.
async fn lines(
    cloud: &Cloud,
    machines: &BTreeMap<MachineId, Machine>,
    query: LogQuery,
) -> Result<LogPage, HostError> {
    let parts = by_host(machines, &query);
    // Machines of a host that left this cloud are silent rather than in the way of the others.
    let hosts: Vec<(Arc<dyn HostApi>, LogQuery)> = parts
        .into_iter()
        .filter_map(|(id, part)| Some((cloud.hosts.find(id)?.api, part)))
        .collect();
    if let [(host, part)] = hosts.as_slice() {
        return known_lines(&**host, part.clone()).await;
    }
    let at_once = hosts.iter().map(|(host, part)| {
        let patience = Duration::ZERO;
        known_lines(
            &**host,
            LogQuery {
                patience,
                ..part.clone()
            },
        )
    });
    let page = merged(&query, try_join_all(at_once).await?);
    if !page.entries.is_empty() || query.patience.is_zero() {
        return Ok(page);
    }
    let mut waiting: FuturesUnordered<_> = hosts
        .iter()
        .map(|(host, part)| known_lines(&**host, part.clone()))
        .collect();
    while let Some(page) = waiting.next().await {
        let page = page?;
        if !page.entries.is_empty() {
            return Ok(page);
        }
    }
    Ok(LogPage::default())
}

fn by_host(
    machines: &BTreeMap<MachineId, Machine>,
    query: &LogQuery,
) -> BTreeMap<HostId, LogQuery> {
    let mut parts: BTreeMap<HostId, LogQuery> = BTreeMap::new();
    for (id, seq) in &query.machines {
        let Some(machine) = machines.get(id) else {
            continue;
        };
        let part = parts.entry(machine.host_id).or_insert_with(|| LogQuery {
            machines: Vec::new(),
            ..query.clone()
        });
        part.machines.push((*id, *seq));
    }
    parts
}

/// One page of several, by time. What does not fit is read with the next page, or never if the newest were asked for.
fn merged(query: &LogQuery, pages: Vec<LogPage>) -> LogPage {
    let mut page = LogPage::default();
    let mut parts = Vec::with_capacity(pages.len());
    for part in pages {
        parts.push(part.entries.into_iter().peekable());
        page.cursors.extend(part.cursors);
    }
    // By the heads only: the lines of one machine stay in their order even if its clock went back.
    while let Some(earliest) = parts
        .iter_mut()
        .filter_map(|part| Some((part.peek()?.at, part)))
        .min_by_key(|(at, _)| *at)
    {
        page.entries.extend(earliest.1.next());
    }
    let surplus = page.entries.len().saturating_sub(query.limit);
    if surplus > 0 && query.tail.is_some() {
        page.entries.drain(..surplus);
    } else if surplus > 0 {
        let left_out = page.entries.split_off(query.limit);
        for (machine, cursor) in &mut page.cursors {
            let first = left_out.iter().find(|entry| entry.machine_id == *machine);
            if let Some(first) = first {
                *cursor = first.seq - 1;
            }
        }
    }
    page
}

/// The lines of those machines that the host knows: others never ran, or are forgotten there.
async fn known_lines(host: &dyn HostApi, mut query: LogQuery) -> Result<LogPage, HostError> {
    loop {
        match host.logs(query.clone()).await {
            Err(HostError::UnknownMachine(unknown)) => {
                let before = query.machines.len();
                query.machines.retain(|(machine, _)| *machine != unknown);
                if query.machines.len() == before {
                    return Err(HostError::UnknownMachine(unknown));
                }
            }
            page => return page,
        }
    }
}

/// The machines whose lines are wanted, destroyed ones too: their last words matter most.
async fn machines(
    cloud: &Cloud,
    access: &AppAccess,
    query: &Query,
) -> Result<BTreeMap<MachineId, Machine>, ApiError> {
    let region = query
        .text("region")
        .map(|code| cloud.regions().find(code).map_err(ApiError::invalid))
        .transpose()?;
    let all = cloud.machines_of(&access.app, true).await?;
    let instance = query.text("instance");
    let machines: BTreeMap<MachineId, Machine> = all
        .into_iter()
        .filter(|machine| {
            region
                .as_ref()
                .is_none_or(|region| *region == machine.region)
        })
        .filter(|machine| {
            instance.is_none_or(|wanted| {
                machine.id.as_str() == wanted || machine.name.as_str() == wanted
            })
        })
        .map(|machine| (machine.id, machine))
        .collect();
    match instance {
        Some(wanted) if machines.is_empty() => Err(ApiError::not_found(format!(
            "machine {wanted} was not found in app {}",
            access.app.name
        ))),
        _ => Ok(machines),
    }
}

fn line(entry: &LogEntry, region: &str) -> Value {
    let mut meta = json!({
        "instance": entry.machine_id,
        "region": region,
        "event": { "provider": entry.source },
    });
    if let Some(container) = &entry.container {
        meta["container"] = json!(container);
    }
    if !entry.stream.is_empty() {
        meta["stream"] = json!(entry.stream);
    }
    json!({
        "id": format!("{}-{}", entry.machine_id, entry.seq),
        "type": "log",
        "attributes": {
            "timestamp": entry.at,
            "message": entry.message,
            "level": level(&entry.message),
            "instance": entry.machine_id,
            "region": region,
            "meta": meta,
        },
    })
}

/// What a structured line says of itself; `info` for all others, as the standard error of many programs is not an error.
fn level(message: &str) -> String {
    let structured = message
        .trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str::<Value>(message).ok())
        .flatten();
    structured
        .as_ref()
        .and_then(|fields| fields.get("level")?.as_str())
        .filter(|level| (1..=16).contains(&level.len()))
        .map_or_else(|| "info".to_owned(), str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(machine: &str, seq: u64, at: i64) -> LogEntry {
        LogEntry {
            machine_id: machine.parse().unwrap(),
            seq,
            at: mayfly_types::Timestamp::from_millis(at),
            source: "app".to_owned(),
            stream: "stdout".to_owned(),
            container: None,
            message: String::new(),
        }
    }

    #[test]
    fn pages_of_several_hosts_become_one_without_a_gap() {
        let (one, other) = ("11111111111111", "22222222222222");
        let page = |machine: &str, ats: &[i64]| LogPage {
            entries: (1..)
                .zip(ats)
                .map(|(seq, at)| entry(machine, seq, *at))
                .collect(),
            cursors: vec![(machine.parse().unwrap(), ats.len() as u64)],
        };
        let query = |limit, tail| LogQuery {
            machines: Vec::new(),
            tail,
            limit,
            patience: Duration::ZERO,
        };
        // The third line of the first machine was written after its clock went back.
        let pages = || vec![page(one, &[1, 4, 3]), page(other, &[2, 5])];
        let shown = |page: &LogPage| -> Vec<(bool, u64)> {
            let entries = page.entries.iter();
            entries
                .map(|entry| (entry.machine_id.as_str() == one, entry.seq))
                .collect()
        };
        let all = merged(&query(9, None), pages());
        let in_order = [(true, 1), (false, 1), (true, 2), (true, 3), (false, 2)];
        assert_eq!(shown(&all), in_order);
        assert_eq!(all.cursors.iter().map(|(_, seq)| *seq).sum::<u64>(), 5);
        let first = merged(&query(3, None), pages());
        assert_eq!(shown(&first), in_order[..3]);
        let cursors: Vec<u64> = first.cursors.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(cursors, [2, 1]);
        let newest = merged(&query(2, Some(2)), pages());
        assert_eq!(shown(&newest), in_order[3..]);
        assert_eq!(newest.cursors, all.cursors);
    }

    #[test]
    fn structured_lines_say_their_level() {
        for (message, level) in [
            (r#"{"level":"ERROR","m":1}"#, "error"),
            (r#"{"level":5}"#, "info"),
            ("{ not json", "info"),
            ("plain", "info"),
        ] {
            assert_eq!(super::level(message), level, "{message}");
        }
    }
}

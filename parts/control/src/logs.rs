//! `GET /api/v1/apps/<app>/logs`: an app's lines, page by page.

mod cursor;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mayfly_host_api::{HostError, LogEntry, LogPage, LogQuery};
use mayfly_types::{MachineId, Region};
use serde_json::{Value, json};

use crate::access::AppAccess;
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
    access: AppAccess,
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
        page = lines(&cloud, wanted) => page?,
        // An empty page sends the reader back with the same token.
        () = cloud.stop.cancelled() => LogPage::default(),
    };
    for (machine, seq) in page.cursors {
        known.advance(machine, seq);
    }
    let lines: Vec<Value> = page
        .entries
        .iter()
        .map(|entry| line(entry, machines.get(&entry.machine_id)))
        .collect();
    Ok(Json(
        json!({ "data": lines, "meta": { "next_token": known.to_string() } }),
    ))
}

/// The lines of those machines that the host knows: others never ran, or are forgotten there.
async fn lines(cloud: &Cloud, mut query: LogQuery) -> Result<LogPage, HostError> {
    loop {
        match cloud.host.logs(query.clone()).await {
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
) -> Result<BTreeMap<MachineId, Region>, ApiError> {
    let region = query
        .text("region")
        .map(|code| cloud.regions.find(code).map_err(ApiError::invalid))
        .transpose()?;
    let all = cloud.machines_of(&access.app, true).await?;
    let instance = query.text("instance");
    let machines: BTreeMap<MachineId, Region> = all
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
        .map(|machine| (machine.id, machine.region))
        .collect();
    match instance {
        Some(wanted) if machines.is_empty() => Err(ApiError::not_found(format!(
            "machine {wanted} was not found in app {}",
            access.app.name
        ))),
        _ => Ok(machines),
    }
}

fn line(entry: &LogEntry, region: Option<&Region>) -> Value {
    let region = region.map(Region::as_str).unwrap_or_default();
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

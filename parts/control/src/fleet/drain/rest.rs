use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::{Host, MoveStage, StoreError};
use mayfly_wire::{FleetHost, HostDrain, HostMove};

use super::Outlook;
use super::rule::Verdict;
use crate::access::{Caller, operator};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::fleet::rest::{find, view};

/// `POST /v1/hosts/{host}/drain`: begins to empty a host, or tries anew what could not move. Answers at once.
pub(crate) async fn begin(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<HostDrain>, ApiError> {
    operator(&cloud, &caller).await?;
    let host = find(&cloud, &id).await?;
    let by = caller.by(&cloud);
    let host = cloud.store.begin_host_drain(host.id, by).await?;
    Ok(Json(shown(&cloud, &host).await?))
}

/// `GET /v1/hosts/{host}/drain`: what has moved, and how what is still there stands.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<HostDrain>, ApiError> {
    operator(&cloud, &caller).await?;
    let host = find(&cloud, &id).await?;
    Ok(Json(shown(&cloud, &host).await?))
}

/// `DELETE /v1/hosts/{host}/drain`, and `POST …/uncordon`: the host takes machines again. What has moved stays moved; what
/// was about to stays.
pub(crate) async fn end(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<FleetHost>, ApiError> {
    operator(&cloud, &caller).await?;
    let host = find(&cloud, &id).await?;
    let by = caller.by(&cloud);
    let host = cloud.store.end_host_drain(host.id, by).await?;
    Ok(Json(view(&cloud, host).await?))
}

async fn shown(cloud: &Cloud, host: &Host) -> Result<HostDrain, StoreError> {
    let drains = cloud.store.host_drains().await?;
    let releasing = cloud.releasing().await?;
    let mut machines = Vec::new();
    let seen = cloud.outlook(host.id, &releasing).await?;
    for (machine, outlook) in seen.staying {
        let (state, replacement, reason) = match outlook {
            Outlook::Moving(moving) if moving.stage == MoveStage::Failed => {
                ("stays", None, moving.problem)
            }
            Outlook::Moving(moving) => ("moving", Some(moving.replacement_id), moving.problem),
            Outlook::Judged(Verdict::Move) => ("waiting", None, None),
            Outlook::Judged(Verdict::Wait(reason)) => ("waiting", None, Some(reason)),
            Outlook::Judged(Verdict::Stay(reason)) => ("stays", None, Some(reason)),
        };
        machines.push(HostMove {
            id: machine.id.to_string(),
            app: machine.app_name.to_string(),
            state: state.to_owned(),
            replacement: replacement.map(|id| id.to_string()),
            reason,
        });
    }
    for moved in seen.moved {
        let app = cloud.store.app_by_id(moved.app_id).await;
        machines.push(HostMove {
            id: moved.machine_id.to_string(),
            // Empty once the app itself is gone.
            app: app.map_or_else(|_| String::new(), |found| found.name.to_string()),
            state: "moved".to_owned(),
            replacement: Some(moved.replacement_id.to_string()),
            reason: None,
        });
    }
    let drain = drains.iter().find(|drain| drain.host_id == host.id);
    Ok(HostDrain {
        host: host.id.to_string(),
        draining: drain.is_some(),
        started_at: drain.map(|drain| drain.started_at.to_string()),
        machines,
    })
}

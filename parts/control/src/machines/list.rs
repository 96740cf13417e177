use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use mayfly_control_store::{Machine, MachineFilter};
use mayfly_machine::MachineState;
use mayfly_types::{MachineId, Region, Timestamp};
use serde_json::Value;

use super::checks::Checks;
use super::view::{Detail, view};
use crate::access::{AppAccess, Caller, MachineAccess};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::org_page::OrgPage;
use crate::http::query::Query;

/// Entries of the history shown with one machine, and with each of a list.
const EVENTS_OF_ONE: u32 = 20;
const EVENTS_OF_EACH: u32 = 10;

/// `GET …/machines/<id>`; a destroyed machine is remembered for a while.
pub(crate) async fn show(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
) -> Result<Json<mayfly_wire::Machine>, ApiError> {
    let mut machine = access.machine;
    // How far each container is changes without a change of the machine: only its host knows.
    if !machine.spec.containers.is_empty()
        && machine.state == MachineState::Started
        && let Ok(host) = cloud.host_of(&machine)
        && let Ok(report) = host.report(machine.id).await
    {
        machine.containers = report.containers;
    }
    Ok(Json(cloud.full_view(machine).await?))
}

/// `GET …/machines`.
pub(crate) async fn list(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<Vec<mayfly_wire::Machine>>, ApiError> {
    query.only(&[
        "include_deleted",
        "region",
        "state",
        "summary",
        "metadata.*",
    ])?;
    let filter = MachineFilter {
        app: Some(access.app.id),
        ..filter(&query)?
    };
    let detail = if query.flag("summary")? {
        Detail::Summary
    } else {
        Detail::Full
    };
    let deleted = filter.include_deleted;
    let machines = cloud.store.machines(filter).await?;
    let mut events = cloud
        .store
        .app_machine_events(access.app.id, EVENTS_OF_EACH, deleted)
        .await?;
    let (checks, now) = (Checks::now(&cloud.hosts), cloud.now());
    let shown = machines.into_iter().map(|machine| {
        let events = events.remove(&machine.id).unwrap_or_default();
        view(machine, events, detail, &checks, now)
    });
    Ok(Json(shown.collect()))
}

/// `GET /v1/orgs/<slug>/machines`: every machine of an organization, by page.
pub(crate) async fn of_org(
    State(cloud): State<Arc<Cloud>>,
    caller: Caller,
    Path(slug): Path<String>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let own = [
        "include_deleted",
        "region",
        "state",
        "summary",
        "metadata.*",
    ];
    query.only(&[&own[..], &OrgPage::<MachineId>::PARAMETERS].concat())?;
    let org = caller.org_called(&slug)?;
    caller.whole_org(org)?;
    let page = OrgPage::asked_for(&query)?;
    let machines = cloud
        .store
        .machines(MachineFilter {
            org: Some(org.id),
            updated_since: page.updated_since,
            after: page.after,
            limit: Some(page.limit),
            ..filter(&query)?
        })
        .await?;
    let marks: Vec<(MachineId, Timestamp)> = machines
        .iter()
        .map(|machine| (machine.id, machine.updated_at))
        .collect();
    let (checks, now) = (Checks::now(&cloud.hosts), cloud.now());
    let shown: Vec<mayfly_wire::Machine> = machines
        .into_iter()
        .map(|machine| {
            let app = machine.app_name.to_string();
            let mut shown = view(machine, Vec::new(), Detail::Full, &checks, now);
            shown.app_name = Some(app);
            shown
        })
        .collect();
    Ok(Json(page.answer("machines", &shown, &marks)))
}

fn filter(query: &Query) -> Result<MachineFilter, ApiError> {
    let region: Option<Region> = query.parsed("region")?;
    let mut states = Vec::new();
    for text in query.all("state").flat_map(|text| text.split(',')) {
        let state: MachineState = text.parse().map_err(|()| {
            let states = MachineState::ALL.map(MachineState::as_str).join(", ");
            ApiError::unreadable(format!(
                "query parameter \"state\" must be one of {states}, got \"{text}\""
            ))
        })?;
        states.push(state);
    }
    let asks_for_destroyed = states.contains(&MachineState::Destroyed);
    Ok(MachineFilter {
        region,
        states,
        metadata: query
            .beginning_with("metadata.")
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        include_deleted: query.flag("include_deleted")? || asks_for_destroyed,
        ..MachineFilter::default()
    })
}

impl Cloud {
    /// A machine with its configuration and the newest of its history.
    pub(super) async fn full_view(
        &self,
        machine: Machine,
    ) -> Result<mayfly_wire::Machine, ApiError> {
        let events = self.store.machine_events(machine.id, EVENTS_OF_ONE).await?;
        let checks = Checks::now(&self.hosts);
        Ok(view(machine, events, Detail::Full, &checks, self.now()))
    }
}

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use mayfly_control_store::{App, By, Machine, StoreError};
use mayfly_host_api::HostError;
use mayfly_machine::{Actor, MachineState};
use serde_json::Value;
use tokio::time::Instant;

use super::ok;
use crate::access::MachineAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

/// How long the deletion of an app waits for its machines to be gone.
const GONE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// `DELETE …/machines/<id>`: `force` and `kill` mean the same. Destroying a destroyed machine succeeds.
pub(crate) async fn destroy(
    State(cloud): State<Arc<Cloud>>,
    access: MachineAccess,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let kill = query.flag("force")? || query.flag("kill")?;
    if access.machine.destroyed_at.is_some() {
        return Ok(ok());
    }
    access.may_change(&cloud)?;
    let by = access.caller.by(&cloud);
    let machine = access.machine;
    let operation = {
        let cloud = cloud.clone();
        async move { cloud.destroy_machine(&machine, kill, &by).await }
    };
    cloud.finish(operation).await?;
    Ok(ok())
}

impl Cloud {
    pub(crate) async fn destroy_machine(
        &self,
        machine: &Machine,
        kill: bool,
        by: &By,
    ) -> Result<(), ApiError> {
        let host = self.host_of(machine)?;
        match host.destroy(machine.id, kill, Actor::User).await {
            Ok(report) => {
                self.read_back(machine.id, &report).await?;
                Ok(())
            }
            // Recorded and never delivered, or gone since.
            Err(HostError::UnknownMachine(_)) => {
                let reason = "its host does not have it".to_owned();
                Ok(self
                    .store
                    .abandon_machine(machine.id, reason, by.clone())
                    .await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Destroys an app with all its machines; without `force` only if none of them runs.
    pub(crate) async fn destroy_app(
        self: &Arc<Self>,
        app: &App,
        force: bool,
        by: &By,
    ) -> Result<(), ApiError> {
        let machines = self.machines_of(app, false).await?;
        let mut running = machines.iter().filter(|machine| !rests(machine.state));
        if !force && let Some(machine) = running.next() {
            let others = running.count();
            return Err(ApiError::invalid(format!(
                "app {} has machines that are not stopped ({} is {}, and {others} more): stop them or set force=true",
                app.name, machine.id, machine.state
            )));
        }
        let operation = {
            let (cloud, app, by) = (self.clone(), app.clone(), by.clone());
            async move { cloud.take_app_down(&app, &by).await }
        };
        self.finish(operation).await
    }

    async fn take_app_down(&self, app: &App, by: &By) -> Result<(), ApiError> {
        let deadline = Instant::now() + GONE_MAX;
        loop {
            let machines = self.machines_of(app, false).await?;
            let mut changes: Vec<_> = Vec::with_capacity(machines.len());
            for machine in &machines {
                changes.push((machine.id, self.changes.of(machine.id)));
                if machine.state != MachineState::Destroying {
                    self.destroy_machine(machine, true, by).await?;
                }
            }
            for (id, mut change) in changes {
                while self.store.machine(id).await?.destroyed_at.is_none() {
                    let gone = tokio::time::timeout_at(deadline, change.changed()).await;
                    if !matches!(gone, Ok(Ok(()))) {
                        return Err(ApiError::new(
                            StatusCode::SERVICE_UNAVAILABLE,
                            format!("machine {id} is not gone yet; delete the app again"),
                        )
                        .retry_after(5));
                    }
                }
            }
            match self.store.delete_app(app.id, by.clone()).await {
                // Somebody made a machine meanwhile.
                Err(StoreError::NotEmpty { .. }) if Instant::now() < deadline => {}
                Err(StoreError::NotFound { .. }) => return Ok(()),
                deleted => return Ok(deleted?),
            }
        }
    }
}

/// Whether a machine in this state runs nothing.
fn rests(state: MachineState) -> bool {
    matches!(
        state,
        MachineState::Created
            | MachineState::Stopped
            | MachineState::Suspended
            | MachineState::Failed
            | MachineState::LaunchFailed
            | MachineState::Destroying
            | MachineState::Destroyed
    )
}

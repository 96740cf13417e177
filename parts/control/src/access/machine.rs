use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;
use mayfly_access::{Action, Request};
use mayfly_control_store::{App, Machine, StoreError};

use super::{Allowance, AppAccess, Caller, path_part};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::limits::charge_machine;

const NONCE: HeaderName = HeaderName::from_static("fly-machine-lease-nonce");

/// The machine named in the path, by id or name, which the caller may see.
pub(crate) struct MachineAccess {
    pub(crate) caller: Caller,
    pub(crate) app: App,
    pub(crate) machine: Machine,
    /// What the caller shows to have the lease.
    pub(crate) nonce: Option<String>,
}

impl MachineAccess {
    /// What this request does to the machine.
    fn request(&self) -> Request {
        request_for(&self.caller, &self.app, &self.machine)
    }

    pub(crate) fn allowance(&self) -> Allowance {
        self.caller.allowance_of(self.request())
    }

    /// Holds that the token allows this command in this machine.
    pub(crate) fn may_run(&self, command: &[String]) -> Result<(), ApiError> {
        let request = Request {
            command: Some(command.to_vec()),
            ..self.request()
        };
        self.caller.allow(self.app.org_id, request)
    }

    /// Holds that the token allows the end of this machine, on the way of something else.
    pub(crate) fn may_destroy(&self) -> Result<(), ApiError> {
        let request = Request {
            action: Action::DELETE,
            ..self.request()
        };
        self.caller.allow(self.app.org_id, request)
    }

    /// Holds that the machine lives and that nobody else holds its lease.
    pub(crate) fn may_change(&self, cloud: &Cloud) -> Result<(), ApiError> {
        if self.machine.destroyed_at.is_some() {
            return Err(ApiError::conflict(format!(
                "machine {} is destroyed",
                self.machine.id
            )));
        }
        Ok(self
            .machine
            .check_lease(self.nonce.as_deref(), cloud.now())?)
    }
}

/// Where a machine is matters to what changes it.
fn request_for(caller: &Caller, app: &App, machine: &Machine) -> Request {
    let request = caller.request_for(app);
    let regions = match request.action {
        Action::READ => Vec::new(),
        _ => vec![machine.region.to_string()],
    };
    Request {
        machine: Some(machine.id.to_string()),
        regions,
        ..request
    }
}

impl FromRequestParts<Arc<Cloud>> for MachineAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, ApiError> {
        let AppAccess { caller, app } = AppAccess::seen(parts, cloud).await?;
        let wanted = path_part(parts, "machine").await?;
        let machine = match cloud.store.machine_in_app(app.id, wanted.clone()).await {
            Ok(machine) => machine,
            Err(StoreError::NotFound { .. }) => {
                return Err(ApiError::not_found(format!(
                    "machine {wanted} was not found in app {}",
                    app.name
                )));
            }
            Err(error) => return Err(error.into()),
        };
        charge_machine(parts, app.org_id.as_str(), machine.id.as_str())?;
        if !caller.need.runs_command {
            caller.allow(app.org_id, request_for(&caller, &app, &machine))?;
        }
        let nonce = parts
            .headers
            .get(NONCE)
            .and_then(|nonce| nonce.to_str().ok());
        Ok(MachineAccess {
            caller,
            app,
            machine,
            nonce: nonce.filter(|nonce| !nonce.is_empty()).map(str::to_owned),
        })
    }
}

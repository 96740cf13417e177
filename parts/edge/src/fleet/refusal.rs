use mayfly_machine::MachineState;
use mayfly_routing::{Candidate, Out, Standing, Waiting};
use mayfly_types::MachineId;

use super::app::Service;
use super::waker::WakeFailure;
use super::wish::Wish;

/// Why a request got no machine. The codes are those of <https://fly.io/docs/monitoring/error-codes/>.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("app {app} has no machine for this service")]
    NoMachine { app: String },
    #[error("machine {machine} is not one of app {app}")]
    UnknownMachine { app: String, machine: MachineId },
    #[error("no other machine of app {app} is left to try")]
    NoneLeft { app: String },
    #[error("no machine of app {app} is healthy")]
    Unhealthy { app: String },
    #[error("no machine of app {app} runs, and the service does not start them on requests")]
    KeptAsleep { app: String },
    #[error("no machine of app {app} takes requests now: machine {machine} is {state}{cordoned}")]
    Unfit {
        app: String,
        machine: MachineId,
        state: MachineState,
        cordoned: &'static str,
    },
    #[error("machine {machine} of app {app} could not be started: {}", failure.message)]
    StartFailed {
        app: String,
        machine: MachineId,
        failure: WakeFailure,
    },
    #[error("no machine of app {app} was ready in time")]
    StartTimeout { app: String },
    #[error("all machines of app {app} are at their hard limit")]
    Full { app: String },
}

impl Refusal {
    /// The code that people search for.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Refusal::NoMachine { .. }
            | Refusal::Unhealthy { .. }
            | Refusal::KeptAsleep { .. }
            | Refusal::Full { .. } => "PR01",
            Refusal::UnknownMachine { .. } => "PR02",
            Refusal::NoneLeft { .. } => "PR04",
            Refusal::Unfit { .. } => "PM08",
            Refusal::StartFailed { failure, .. } => failure.code,
            Refusal::StartTimeout { .. } => "PM03",
        }
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            Refusal::UnknownMachine { .. } => 404,
            Refusal::StartTimeout { .. } => 504,
            _ => 503,
        }
    }

    /// What a request that waited until its deadline is told.
    pub(super) fn late(service: &Service, on: Waiting) -> Refusal {
        let app = service.app.to_string();
        match on {
            Waiting::Room => Refusal::Full { app },
            Waiting::Start => Refusal::StartTimeout { app },
        }
    }

    /// What a request is told that nothing is left to wait for.
    pub(super) fn of(service: &Service, wish: &Wish, out: Option<Out>) -> Refusal {
        let app = service.app.to_string();
        let blamed = service.members.iter().find(|member| {
            wish.distance(member).is_some()
                && out.is_some_and(|out| member.standing() == Standing::Out(out))
        });
        let backend = blamed.map(|member| &member.seat.backend);
        match (out, backend) {
            (Some(Out::StartFailed), Some(backend)) => Refusal::StartFailed {
                app,
                machine: backend.machine,
                failure: backend
                    .last_failure()
                    .unwrap_or_else(WakeFailure::timed_out),
            },
            (Some(Out::Unhealthy), _) => Refusal::Unhealthy { app },
            (Some(Out::KeptAsleep), _) => Refusal::KeptAsleep { app },
            (Some(out), Some(backend)) => Refusal::Unfit {
                app,
                machine: backend.machine,
                state: backend.state(),
                cordoned: if out == Out::Cordoned {
                    " and cordoned"
                } else {
                    ""
                },
            },
            _ => match wish.force_instance {
                Some(machine) if !wish.exclude.contains(&machine) => {
                    Refusal::UnknownMachine { app, machine }
                }
                _ if wish.exclude.is_empty() => Refusal::NoMachine { app },
                _ => Refusal::NoneLeft { app },
            },
        }
    }
}

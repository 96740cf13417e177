use std::collections::{HashMap, VecDeque};

use tokio::sync::watch;

use crate::DriverError;

/// A method of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Provision,
    Launch,
    Observe,
    Exited,
    Signal,
    Kill,
    Freeze,
    Thaw,
    Clean,
    Remove,
    Exec,
    Ps,
    Containers,
    CpuUsed,
    LimitCpu,
    Memory,
    MakeVolume,
    GrowVolume,
    ReadyVolume,
    RemoveVolume,
    Volume,
}

/// Where in a call something happens: nothing was done yet, or all was done and nobody has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Before,
    After,
}

/// What a scripted failure says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// [`DriverError::Guest`] with this reason.
    Guest(String),
    /// [`DriverError::Host`] with this action.
    Host(String),
    /// [`DriverError::Host`] because of the host's disk.
    DiskFull,
}

impl Fault {
    fn error(&self) -> DriverError {
        match self {
            Fault::Guest(reason) => DriverError::Guest {
                reason: reason.clone(),
            },
            Fault::Host(action) => DriverError::Host {
                action: action.clone(),
                source: "scripted failure".into(),
            },
            Fault::DiskFull => DriverError::Host {
                action: "write to the host's disk".to_owned(),
                source: std::io::Error::from(std::io::ErrorKind::StorageFull).into(),
            },
        }
    }
}

/// Keeps a call at its edge until dropped.
#[derive(Debug)]
pub struct Hold {
    reached: watch::Receiver<bool>,
    _open: watch::Sender<()>,
}

impl Hold {
    /// Whether the call has come to the edge.
    pub fn is_reached(&self) -> bool {
        *self.reached.borrow()
    }

    /// Waits until the call has come to the edge; at once if it has.
    pub async fn reached(&mut self) {
        // An error means the call went on because it was dropped there: it has been at the edge.
        let _ = self.reached.wait_for(|reached| *reached).await;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Fail(Fault),
    Hold {
        reached: watch::Sender<bool>,
        open: watch::Receiver<()>,
    },
}

#[derive(Default)]
pub(super) struct Script {
    by_call: HashMap<Call, VecDeque<(Edge, Step)>>,
    by_number: HashMap<usize, (Edge, Step)>,
}

impl Script {
    pub(super) fn fail_next(&mut self, call: Call, edge: Edge, fault: Fault) {
        self.queue(call, edge, Step::Fail(fault));
    }

    pub(super) fn fail_number(&mut self, number: usize, edge: Edge, fault: Fault) {
        self.by_number.insert(number, (edge, Step::Fail(fault)));
    }

    pub(super) fn hold_next(&mut self, call: Call, edge: Edge) -> Hold {
        let (step, hold) = hold();
        self.queue(call, edge, step);
        hold
    }

    pub(super) fn hold_number(&mut self, number: usize, edge: Edge) -> Hold {
        let (step, hold) = hold();
        self.by_number.insert(number, (edge, step));
        hold
    }

    fn queue(&mut self, call: Call, edge: Edge, step: Step) {
        self.by_call
            .entry(call)
            .or_default()
            .push_back((edge, step));
    }

    pub(super) fn plan(&mut self, call: Call, number: usize) -> Plan {
        let step = self
            .by_number
            .remove(&number)
            .or_else(|| self.by_call.get_mut(&call)?.pop_front());
        Plan(step)
    }
}

fn hold() -> (Step, Hold) {
    let (reached, reached_seen) = watch::channel(false);
    let (open, opened) = watch::channel(());
    let step = Step::Hold {
        reached,
        open: opened,
    };
    let hold = Hold {
        reached: reached_seen,
        _open: open,
    };
    (step, hold)
}

/// What the script says about one call.
pub(super) struct Plan(Option<(Edge, Step)>);

impl Plan {
    pub(super) async fn reach(&self, edge: Edge) -> Result<(), DriverError> {
        match &self.0 {
            Some((at, Step::Fail(fault))) if *at == edge => Err(fault.error()),
            Some((at, Step::Hold { reached, open })) if *at == edge => {
                reached.send_replace(true);
                // Ends with an error when the hold is dropped, which is the release.
                let _ = open.clone().changed().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

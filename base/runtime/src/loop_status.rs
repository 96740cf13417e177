use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mayfly_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What a background loop last did, so that status can answer "why is this not done yet?".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopStatus {
    pub ran_at: Option<Timestamp>,
    pub took: Duration,
    /// Changes made in the last turn.
    pub applied: u64,
    /// Changes that are due and could not be made yet.
    pub waiting: u64,
    pub last_error: Option<String>,
}

/// The states of all loops of a process, by name. Clones share the board.
#[derive(Clone, Debug, Default)]
pub struct LoopBoard(Arc<Mutex<BTreeMap<&'static str, LoopStatus>>>);

impl LoopBoard {
    /// A place on the board for one loop.
    pub fn loop_named(&self, name: &'static str) -> LoopHandle {
        LoopHandle {
            board: self.clone(),
            name,
        }
    }

    pub fn read(&self) -> BTreeMap<&'static str, LoopStatus> {
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }
}

/// Where one loop publishes its state.
#[derive(Clone, Debug)]
pub struct LoopHandle {
    board: LoopBoard,
    name: &'static str,
}

impl LoopHandle {
    pub fn publish(&self, status: LoopStatus) {
        self.board
            .0
            .lock()
            .expect("no holder of this lock panics")
            .insert(self.name, status);
    }
}

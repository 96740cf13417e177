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
pub struct LoopBoard {
    loops: Arc<Mutex<BTreeMap<String, LoopStatus>>>,
    /// Behind each name, when several parts of one kind share the board.
    whose: Option<Arc<str>>,
}

impl LoopBoard {
    /// A place on the board for one loop.
    pub fn loop_named(&self, name: &str) -> LoopHandle {
        LoopHandle {
            board: self.clone(),
            name: match &self.whose {
                Some(whose) => format!("{name}@{whose}"),
                None => name.to_owned(),
            },
        }
    }

    /// The same board for one of several parts whose loops are called alike: theirs show as `name@whose`.
    pub fn within(&self, whose: &str) -> LoopBoard {
        LoopBoard {
            loops: self.loops.clone(),
            whose: Some(whose.into()),
        }
    }

    pub fn read(&self) -> BTreeMap<String, LoopStatus> {
        self.loops
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }
}

/// Where one loop publishes its state.
#[derive(Clone, Debug)]
pub struct LoopHandle {
    board: LoopBoard,
    name: String,
}

impl LoopHandle {
    pub fn publish(&self, status: LoopStatus) {
        self.board
            .loops
            .lock()
            .expect("no holder of this lock panics")
            .insert(self.name.clone(), status);
    }
}

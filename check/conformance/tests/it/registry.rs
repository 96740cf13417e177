//! The registry of a cloud by stock clients: what they push machines run, whatever happens meanwhile.

mod collecting;
mod edge;
mod faults;
mod fleet;
mod mirror;
mod parts;
mod pushing;
mod storage;
mod suite;

use mayfly_conformance::{Clients, Stage};

/// Clients that are logged into the cloud's registry.
fn clients_of(stage: &Stage) -> Clients {
    let clients = Clients::new();
    let address = stage.cloud.api().to_string();
    clients.log_in(&[&address], stage.cloud.token());
    clients
}

fn in_registry(stage: &Stage, name: &str) -> String {
    format!("docker://{}/{name}", stage.cloud.api())
}

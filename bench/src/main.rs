//! The measurements behind `SPECIFICATION.md`: each beside a named peer, in turns, in one run.
//!
//! Absolute times on a shared machine say little; the ratio of medians of interleaved rounds does. Every line printed
//! gives both medians, the ratio, and the least and greatest ratio of a single round.

mod bundle;
mod cloud;
mod cpu;
mod create;
mod deploy;
mod edge;
mod fleet;
mod memory;
mod names;
mod network;
mod peer;
mod rebuild;
mod registry;
mod routes;
mod rows;
mod shells;
mod start;
mod stats;
mod suspend;
mod tunnel;
mod wake;

use anyhow::{Result, bail};

type Measurement = (&'static str, &'static str, fn() -> Result<()>);

const ALL: [Measurement; 15] = [
    (
        "start",
        "start of a stopped machine beside crun",
        start::run,
    ),
    (
        "resume",
        "thaw of a suspended machine beside its start",
        suspend::run,
    ),
    (
        "create",
        "create and start, machines per second, beside podman",
        create::run,
    ),
    (
        "deploy",
        "a deployment to 2 and to 10 machines, beside the sum of bare starts",
        deploy::run,
    ),
    (
        "memory",
        "our memory per idle machine, and 500 of them",
        memory::run,
    ),
    (
        "rows",
        "list and get at 100 and at 10,000 machines",
        rows::run,
    ),
    (
        "wake",
        "first answer of a suspended and of a stopped machine, beside a direct request and crun",
        wake::run,
    ),
    (
        "routes",
        "the edge's table at 100 and at 100,000 apps",
        routes::run,
    ),
    (
        "names",
        "questions about names per CPU second, beside unbound and knot",
        names::run,
    ),
    (
        "network",
        "a machine's network made and taken away, at 10 and at 500 machines",
        network::run,
    ),
    (
        "edge",
        "CPU time per request and memory per connection, beside HAProxy and nginx",
        edge::run,
    ),
    (
        "registry",
        "layers pushed and pulled, and CPU time of that, beside Debian's docker-registry",
        registry::run,
    ),
    (
        "rebuild",
        "a build with nothing changed, beside podman build",
        rebuild::run,
    ),
    (
        "tunnel",
        "one stream through a tunnel, beside wireguard-go and the bare wire",
        tunnel::run,
    ),
    (
        "shells",
        "a command by ssh and by the command line, beside crun exec; the throughput of mayfly proxy",
        shells::run,
    ),
];

/// The daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.first().is_some_and(|name| name == peer::ROLE) {
        return peer::serve();
    }
    if wanted.first().is_some_and(|name| name == names::ROLE) {
        return names::serve();
    }
    if let Some(play) = wanted.first().and_then(|name| edge::role(name)) {
        return play();
    }
    if wanted.first().is_some_and(|name| name == tunnel::ROLE) {
        return tunnel::serve();
    }
    if wanted.is_empty() {
        wanted = ALL.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    }
    for name in &wanted {
        let Some((_, what, run)) = ALL.iter().find(|(known, _, _)| known == name) else {
            let known: Vec<&str> = ALL.iter().map(|(known, _, _)| *known).collect();
            bail!(
                "no measurement is called {name}; there are {}",
                known.join(", ")
            );
        };
        println!("## {name}: {what}");
        run()?;
        println!();
    }
    Ok(())
}

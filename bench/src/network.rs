//! Making a machine's network (namespace, interfaces, addresses, routes, admission) and taking it away again, while 10 and
//! while 500 others are there: the cost must stay flat.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mayfly_mesh::{Attachment, Mesh, private_ip};
use mayfly_types::{HostId, MachineId, NetworkId};

use crate::stats::{Spread, median};

const FEW: u32 = 10;
const MANY: u32 = 500;
const ROUNDS: u32 = 40;

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mesh = Mesh::start(folder.path(), &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let measured = runtime.block_on(measure(&mesh));
    mesh.dismantle()?;
    let [few, many] = measured?;
    for (what, at) in [("made", 0), ("taken away", 1)] {
        println!(
            "{what}: {} ms at {FEW} machines, {} ms at {MANY}: ratio {:.2}",
            Spread::of(&few[at]),
            Spread::of(&many[at]),
            median(&many[at]) / median(&few[at])
        );
    }
    Ok(())
}

/// Milliseconds to make and to take away, at few and at many.
type Times = [Vec<f64>; 2];

async fn measure(mesh: &Mesh) -> Result<[Times; 2]> {
    for number in 0..FEW {
        mesh.attach(attachment(mesh, number)?).await?;
    }
    let few = rounds(mesh).await?;
    for number in FEW..MANY {
        mesh.attach(attachment(mesh, number)?).await?;
    }
    Ok([few, rounds(mesh).await?])
}

async fn rounds(mesh: &Mesh) -> Result<Times> {
    let mut times = Times::default();
    for round in 0..ROUNDS {
        let one = attachment(mesh, MANY + round)?;
        let began = Instant::now();
        mesh.attach(one).await?;
        let made = began.elapsed();
        mesh.detach(one.machine_id).await?;
        let gone = began.elapsed() - made;
        for (times, took) in times.iter_mut().zip([made, gone]) {
            times.push(millis(took));
        }
    }
    Ok(times)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn attachment(mesh: &Mesh, number: u32) -> Result<Attachment> {
    let mut random = [0; 14];
    for (at, byte) in random.iter_mut().take(8).enumerate() {
        *byte = (number >> (4 * at)) as u8;
    }
    Ok(Attachment {
        machine_id: MachineId::from_random(random),
        private_ip: private_ip(NetworkId(number % 7), HostId::from_random([5; 8]), number),
        ipv4: mesh
            .ipv4_pool()
            .nth(number)
            .context("the pool has room for all machines")?,
    })
}

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mayfly_fleet_api::{CallError, HostCall};
use mayfly_host_api::{Actor, HostApi, HostError, ImageInfo, ImageSource};
use mayfly_types::{ErrorKind, ImageRef};
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::{session, watching};
use crate::carry::carry;
use crate::line::{Answer, DATA, END, Line};

/// What edges of other servers ask: to see machines, and to wake and rest them as the proxy.
pub(super) fn is_for_edges(call: &HostCall) -> bool {
    match call {
        HostCall::Watch => true,
        HostCall::Start(_, by) | HostCall::Suspend(_, by) => *by == Actor::Proxy,
        HostCall::Stop(_, request) => request.by == Actor::Proxy,
        _ => false,
    }
}

/// Hands a call to the host; the line comes back unless it became a stream.
pub(super) async fn answer(
    host: &Arc<dyn HostApi>,
    call: HostCall,
    uploads: &Path,
    mut line: Line,
) -> io::Result<Option<Line>> {
    match call {
        HostCall::Watch => {
            line.writer.answer(&Ok(())).await?;
            return watching::publish(&**host, line).await.map(|()| None);
        }
        HostCall::Exec(machine, request) => {
            let opened = host.exec(machine, request).await;
            return session::carry(opened, line).await;
        }
        HostCall::Connect(target) => match host.connect(target).await {
            Ok(stream) => {
                line.writer.answer(&Ok(())).await?;
                return carry(line, stream).await.map(|()| None);
            }
            Err(error) => reply::<()>(&mut line, Err(error)).await?,
        },
        HostCall::Ping(target, patience) => {
            reply(&mut line, host.ping(target, patience).await).await?;
        }
        HostCall::ImportImage(name) => {
            line.writer.answer(&Ok(())).await?;
            let imported = import(&**host, name, uploads, &mut line).await?;
            line.writer.answer(&imported).await?;
            return Ok(Some(line));
        }
        HostCall::Pulls => line.writer.answer(&Ok(host.pulls().await)).await?,
        HostCall::Create(request) => reply(&mut line, host.create(request).await).await?,
        HostCall::Update(machine, request) => {
            reply(&mut line, host.update(machine, request).await).await?;
        }
        HostCall::Start(machine, by) => reply(&mut line, host.start(machine, by).await).await?,
        HostCall::Stop(machine, request) => {
            reply(&mut line, host.stop(machine, request).await).await?;
        }
        HostCall::Restart(machine, request) => {
            reply(&mut line, host.restart(machine, request).await).await?;
        }
        HostCall::Suspend(machine, by) => {
            reply(&mut line, host.suspend(machine, by).await).await?;
        }
        HostCall::Cordon(machine, cordoned, by) => {
            reply(&mut line, host.cordon(machine, cordoned, by).await).await?;
        }
        HostCall::Signal(machine, signal) => {
            reply(&mut line, host.signal(machine, signal).await).await?;
        }
        HostCall::Destroy(machine, kill, by) => {
            reply(&mut line, host.destroy(machine, kill, by).await).await?;
        }
        HostCall::Memory(machine, request) => {
            reply(&mut line, host.memory(machine, request).await).await?;
        }
        HostCall::Usage(machines) => reply(&mut line, host.usage(machines).await).await?,
        HostCall::Ps(machine) => reply(&mut line, host.ps(machine).await).await?,
        HostCall::Report(machine) => reply(&mut line, host.report(machine).await).await?,
        HostCall::EventsAfter(after, limit) => {
            reply(&mut line, host.events_after(after, limit).await).await?;
        }
        HostCall::ScheduleRuns(machine, limit) => {
            reply(&mut line, host.schedule_runs(machine, limit).await).await?;
        }
        HostCall::Logs(query) => reply(&mut line, host.logs(query).await).await?,
        HostCall::ResolveImage(image, login) => {
            reply(&mut line, host.resolve_image(&image, login).await).await?;
        }
        HostCall::Images => reply(&mut line, host.images().await).await?,
        HostCall::PruneImages(keep) => {
            reply(&mut line, host.prune_images(keep).await).await?;
        }
        HostCall::CreateVolume(spec) => {
            reply(&mut line, host.create_volume(spec).await).await?;
        }
        HostCall::ExtendVolume(volume, size_gib) => {
            reply(&mut line, host.extend_volume(volume, size_gib).await).await?;
        }
        HostCall::DestroyVolume(volume) => {
            reply(&mut line, host.destroy_volume(volume).await).await?;
        }
        HostCall::Volume(volume) => reply(&mut line, host.volume(volume).await).await?,
        HostCall::Volumes => reply(&mut line, host.volumes().await).await?,
    }
    Ok(Some(line))
}

async fn reply<T: Serialize>(line: &mut Line, result: Result<T, HostError>) -> io::Result<()> {
    let answer: Answer<T> = result.map_err(CallError::from);
    line.writer.answer(&answer).await
}

/// Takes the archive that follows into a file of its own and imports it.
async fn import(
    host: &dyn HostApi,
    name: Option<ImageRef>,
    uploads: &Path,
    line: &mut Line,
) -> io::Result<Answer<Vec<ImageInfo>>> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = uploads.join(format!("fleet-{}-{serial}", std::process::id()));
    let received = receive(&path, line).await?;
    let imported = match received {
        Ok(()) => {
            let source = ImageSource {
                path: path.clone(),
                name,
            };
            host.import_image(source).await.map_err(CallError::from)
        }
        Err(error) => Err(error),
    };
    // It may never have been made.
    let _ = tokio::fs::remove_file(&path).await;
    Ok(imported)
}

/// The outer error is that of the connection.
async fn receive(path: &Path, line: &mut Line) -> io::Result<Answer<()>> {
    let disk = |error: io::Error| {
        let full = error.kind() == io::ErrorKind::StorageFull;
        let kind = if full {
            ErrorKind::Exhausted
        } else {
            ErrorKind::Internal
        };
        CallError::new(kind, format!("store the archive: {error}"))
    };
    let mut file = tokio::fs::File::create(path).await.map_err(disk);
    loop {
        let frame = line.reader.expect_soon().await?;
        match frame.kind {
            DATA => {
                if let Ok(open) = &mut file
                    && let Err(error) = open.write_all(&frame.bytes).await
                {
                    file = Err(disk(error));
                }
            }
            END => break,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(match file {
        Ok(mut file) => file.flush().await.map_err(disk),
        Err(error) => Err(error),
    })
}

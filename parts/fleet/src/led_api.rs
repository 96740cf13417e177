//! The API of a cloud for machines of other servers.

use std::io;

use async_trait::async_trait;
use mayfly_fleet_api::{ApiVisitor, CallError};
use mayfly_types::{ErrorKind, HostId, MachineId};
use tokio::io::DuplexStream;

use crate::carry::carry;
use crate::line::{Answer, Line, PIECE_BYTES};

/// The API of this server, as others are led to it.
#[async_trait]
pub trait LedApi: Send + Sync + 'static {
    /// Whether a machine runs on a host of this server, as far as is known here.
    fn runs_on(&self, machine: MachineId, server: HostId) -> bool;

    /// Answers what is asked by `stream`; returns when that has ended.
    async fn serve(&self, visitor: ApiVisitor, stream: DuplexStream);
}

/// Lets a connection of another server's machine in.
pub(crate) async fn lead(
    api: &dyn LedApi,
    server: HostId,
    visitor: ApiVisitor,
    mut line: Line,
) -> io::Result<Option<Line>> {
    if let ApiVisitor::Machine(machine) = visitor
        && !api.runs_on(machine, server)
    {
        let text = format!("machine {machine} is not known to run on server {server}");
        let answer: Answer<()> = Err(CallError::new(ErrorKind::Denied, text));
        line.writer.answer(&answer).await?;
        return Ok(Some(line));
    }
    line.writer.answer(&Ok(())).await?;
    let (ours, theirs) = tokio::io::duplex(PIECE_BYTES);
    let (carried, ()) = tokio::join!(carry(line, ours), api.serve(visitor, theirs));
    carried.map(|()| None)
}

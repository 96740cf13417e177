use std::io;

use mayfly_host_api::{MemoryReport, MemoryRequest};

use crate::cgroup::MachineCgroup;

const MIB: u64 = 1 << 20;

/// Why a machine's memory was not changed.
pub(super) enum Failure {
    /// The machine's own fault.
    InUse {
        mib: u32,
    },
    Kernel(io::Error),
}

/// Does what is asked and says how the memory stands after it. Blocking.
pub(super) fn answer(
    cgroup: &MachineCgroup<'_>,
    request: MemoryRequest,
) -> Result<MemoryReport, Failure> {
    let mut reclaimed = 0;
    match request {
        MemoryRequest::Read => {}
        MemoryRequest::Limit { mib } => {
            cgroup.set_memory(u64::from(mib) * MIB).map_err(|error| {
                match (error.kind(), cgroup.memory()) {
                    (io::ErrorKind::ResourceBusy, Ok(memory)) => Failure::InUse {
                        mib: whole_mib(memory.used),
                    },
                    _ => Failure::Kernel(error),
                }
            })?;
        }
        MemoryRequest::Reclaim { mib } => {
            reclaimed = cgroup
                .reclaim_memory(u64::from(mib) * MIB)
                .map_err(Failure::Kernel)?;
        }
    }
    let memory = cgroup.memory().map_err(Failure::Kernel)?;
    let needed = memory.used.saturating_sub(memory.spare);
    Ok(MemoryReport {
        limit_mib: whole_mib(memory.limit),
        available_mib: whole_mib(memory.limit.saturating_sub(needed)),
        reclaimed_mib: whole_mib(reclaimed),
    })
}

fn whole_mib(bytes: u64) -> u32 {
    u32::try_from(bytes / MIB).unwrap_or(u32::MAX)
}

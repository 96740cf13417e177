//! A running machine's memory: its limit, and taking back what it does not need.

use std::io;

use super::layout::Version;
use super::machine::{MachineCgroup, parse, value_of};

/// A machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    /// The part of `used` that is files nobody has looked at lately.
    pub(crate) spare: u64,
}

impl MachineCgroup<'_> {
    pub(crate) fn memory(&self) -> io::Result<MemoryUse> {
        let memory = &self.layout().memory;
        let (limit, used, spare) = match memory.version {
            Version::V1 => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
            Version::V2 => ("memory.max", "memory.current", "inactive_file"),
        };
        Ok(MemoryUse {
            limit: parse(&self.get(memory, limit)?)?,
            used: parse(&self.get(memory, used)?)?,
            spare: parse(&value_of(&self.get(memory, "memory.stat")?, spare))?,
        })
    }

    /// Sets the limit without ending anything; what may be swapped out besides stays. Blocking.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if more is in use and cannot be taken back; the limit is as before.
    pub(crate) fn set_memory(&self, bytes: u64) -> io::Result<()> {
        let memory = &self.layout().memory;
        match memory.version {
            Version::V1 => self.set_memory_v1(bytes),
            Version::V2 => {
                // A limit below what is used would have the kernel kill at once: the room is made first.
                let excess = self.memory()?.used.saturating_sub(bytes);
                if excess > 0 {
                    self.reclaim_memory(excess)?;
                    if self.memory()?.used > bytes {
                        return Err(io::ErrorKind::ResourceBusy.into());
                    }
                }
                self.set(memory, "memory.max", bytes)
            }
        }
    }

    /// Version 1 counts swap within a second limit, which may never be the smaller one.
    fn set_memory_v1(&self, bytes: u64) -> io::Result<()> {
        const ALONE: &str = "memory.limit_in_bytes";
        const BOTH: &str = "memory.memsw.limit_in_bytes";
        let memory = &self.layout().memory;
        let now: u64 = parse(&self.get(memory, ALONE)?)?;
        let Ok(both) = self.get(memory, BOTH) else {
            return self.set(memory, ALONE, bytes); // the kernel does not count swap
        };
        let swap = parse::<u64>(&both)?.saturating_sub(now);
        if bytes > now {
            self.set(memory, BOTH, bytes.saturating_add(swap))?;
            return self.set(memory, ALONE, bytes);
        }
        self.set(memory, ALONE, bytes)?;
        let lowered = self.set(memory, BOTH, bytes.saturating_add(swap));
        if lowered.is_err() {
            self.set(memory, ALONE, now)?;
        }
        lowered
    }

    /// Takes memory back and returns how much less is used. Version 1 cannot be told how much: it gives all it can.
    /// Blocking.
    pub(crate) fn reclaim_memory(&self, bytes: u64) -> io::Result<u64> {
        let memory = &self.layout().memory;
        let before = self.memory()?.used;
        let asked = match memory.version {
            Version::V1 => self.set(memory, "memory.force_empty", 0),
            Version::V2 => self.set(memory, "memory.reclaim", bytes),
        };
        match asked {
            // There was less to take than asked for.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy
                ) => {}
            // Linux before 5.19 has no such file: nothing is taken.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        }
        Ok(before.saturating_sub(self.memory()?.used))
    }
}

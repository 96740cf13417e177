use mayfly_machine::{CpuKind, GuestSize};

/// What a machine of a size may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    pub(crate) swap_bytes: u64,
    pub(crate) tasks: u32,
    /// In thousandths of a CPU, among machines that compete.
    pub(crate) cpu_share: u32,
    pub(crate) millicpus: u32,
}

/// Period of a CPU limit, in microseconds: the kernel's default.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;

const MIB: u64 = 1 << 20;
/// Tasks per MiB of memory, about what a kernel with that memory would allow, within bounds.
const TASKS_PER_MIB: u32 = 4;
const TASKS_MIN: u32 = 1024;
const TASKS_MAX: u32 = 32_768;
/// A shared CPU is sixteen machines' CPU: <https://fly.io/docs/machines/cpu-performance/>.
const SHARED_MILLICPUS: u32 = 1000 / 16;

impl Limits {
    pub(crate) fn of(size: GuestSize, swap_mib: u32) -> Limits {
        let per_cpu = match size.cpu_kind {
            CpuKind::Shared => SHARED_MILLICPUS,
            CpuKind::Performance => 1000,
        };
        let tasks = size.memory_mib.saturating_mul(TASKS_PER_MIB);
        Limits {
            memory_bytes: u64::from(size.memory_mib) * MIB,
            swap_bytes: u64::from(swap_mib) * MIB,
            tasks: tasks.clamp(TASKS_MIN, TASKS_MAX),
            cpu_share: per_cpu * size.cpus,
            millicpus: 1000 * size.cpus,
        }
    }

    /// `cpu.shares` of version 1: 1024 per whole CPU.
    pub(crate) fn shares(&self) -> u64 {
        (u64::from(self.cpu_share) * 1024 / 1000).max(2)
    }

    /// `cpu.weight` of version 2, where 100 is what 1024 shares are to the kernel; 1 to 10,000.
    pub(crate) fn weight(&self) -> u64 {
        (u64::from(self.cpu_share) / 10).clamp(1, 10_000)
    }
}

/// The CPU time per period that so many thousandths of a CPU are.
pub(crate) fn quota_us(millicpus: u32) -> u64 {
    // The kernel refuses less than a millisecond.
    (u64::from(millicpus) * CPU_PERIOD_US / 1000).max(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_limits() {
        let small = Limits::of(GuestSize::default(), 128);
        assert_eq!(small.memory_bytes, 256 << 20);
        assert_eq!(small.swap_bytes, 128 << 20);
        assert_eq!((small.tasks, small.millicpus), (1024, 1000));
        assert_eq!((small.shares(), small.weight()), (63, 6));
        let large = Limits::of(GuestSize::preset("performance-8x").unwrap(), 0);
        assert_eq!((large.shares(), large.weight()), (8192, 800));
        assert_eq!(large.tasks, 32_768);
        assert_eq!((quota_us(8000), quota_us(0)), (800_000, 1000));
    }
}

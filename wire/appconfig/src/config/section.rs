use crate::size;
use mayfly_wire::optional_fields;

optional_fields! {
    pub struct Mount {
        pub source: String,
        pub destination: String,
        /// As `10gb`.
        pub initial_size: String,
        pub snapshot_retention: i64,
        pub scheduled_snapshots: bool,
        pub auto_extend_size_threshold: i64,
        /// As `5gb`.
        pub auto_extend_size_increment: String,
        /// As `100gb`.
        pub auto_extend_size_limit: String,
        pub processes: Vec<String>,
    }

    pub struct File {
        pub guest_path: String,
        pub local_path: String,
        pub secret_name: String,
        pub raw_value: String,
        pub processes: Vec<String>,
    }

    pub struct Metrics {
        pub port: i64,
        pub path: String,
        pub https: bool,
        pub processes: Vec<String>,
    }

    pub struct Restart {
        pub policy: String,
        pub retries: i64,
        pub processes: Vec<String>,
    }

    /// A machine's size; what several keys say is decided by the more exact one.
    pub struct Vm {
        pub size: String,
        /// As `1gb`.
        pub memory: String,
        pub cpu_kind: String,
        pub cpus: i64,
        pub memory_mb: i64,
        pub max_memory_mb: i64,
        pub gpus: i64,
        pub gpu_kind: String,
        pub host_dedication_id: String,
        pub kernel_args: Vec<String>,
        pub persist_rootfs: String,
        pub processes: Vec<String>,
    }
}

impl Mount {
    /// Size of new volumes in GB.
    pub fn initial_size_gb(&self) -> i64 {
        gigabytes(self.initial_size.as_deref()).unwrap_or(1)
    }

    pub(crate) fn extend_by_gb(&self) -> Option<i64> {
        gigabytes(self.auto_extend_size_increment.as_deref())
    }

    pub(crate) fn extend_to_gb(&self) -> Option<i64> {
        gigabytes(self.auto_extend_size_limit.as_deref())
    }
}

impl Vm {
    /// `memory_mb`, else `memory`, in MB.
    pub(crate) fn memory_mib(&self) -> Option<i64> {
        self.memory_mb
            .or_else(|| size::mib(self.memory.as_deref()?, 1))
    }
}

fn gigabytes(text: Option<&str>) -> Option<i64> {
    size::mib(text?, 1024).map(|mib| mib / 1024)
}

//! The rules of a machine's life, decided without a runtime, a clock or a kernel.
//!
//! [`MachineSpec`] is the checked form of what a user asked for; [`MachineState`] is the word the API shows for where a
//! machine is. How a machine moves from phase to phase, when it restarts, when a schedule is due and how many seconds
//! of burst a shared CPU has left are functions of values: nothing here performs an effect.

mod address;
mod burst;
mod check;
mod command;
mod environment;
mod etc_files;
mod event;
mod history;
mod machine;
mod pending;
mod phase;
mod restart;
mod schedule;
mod service;
mod signal;
mod size;
mod spec;
mod state;
mod step;
mod usage;

#[cfg(test)]
mod tests;

pub use address::private_ip;
pub use burst::{BurstBudget, CpuLimit};
pub use check::{CheckStatus, CheckTurn, NamedCheck, named_checks};
pub use command::{ImageDefaults, NothingToRun, Overrides};
pub use environment::{Facts, environment, expanded};
pub use etc_files::{etc_hosts, etc_resolv_conf};
pub use event::{Body, Decision, Effect, Event, Fault, Refusal};
pub use history::{Actor, EventKind, ExitEvent, Happening, RunChange, SessionNote, VolumeNote};
pub use machine::{Identity, Launch, Machine, Timetable, Version};
pub use pending::{pending, wake_at};
pub use phase::{AfterStop, Cause, Exit, GuestRef, Phase, Tries};
pub use restart::{HEALTHY_AFTER, RETRIES_DEFAULT, Verdict};
pub use schedule::{Cron, InvalidSchedule, Schedule};
pub use service::{
    Alpn, Autostop, CheckProbe, CheckSpec, CheckTls, Concurrency, ConcurrencyKind, Handler,
    HttpOptions, PortSpec, Protocol, ProxyProtoVersion, ReplayCacheKey, ReplayCacheRule,
    ServiceSpec, StaticSpec, TlsOptions, TlsVersion,
};
pub use signal::{InvalidSignal, Signal};
pub use size::{CpuKind, GuestSize, InvalidSize};
pub use spec::{
    Condition, ContainerSpec, Dependency, DnsSpec, EnvFrom, FieldRef, FileContent, FileSpec,
    Healthcheck, InitSpec, MachineSpec, MountSpec, Persist, Probe, ProcessSpec, RestartMode,
    RestartPolicy, Rights, RootfsSpec, SecretEnv, StopSpec,
};
pub use state::MachineState;
pub use step::{LAUNCH_FAILED_KEPT, step};
pub use usage::{Levels, Usage, UsageHistory, UsageSample};

//! The JSON of the Machines API and the one door from it to what Mayfly obeys.
//!
//! [`read`] turns a body into a typed request and says exactly what is wrong with it: an unknown field by its path and
//! the field that was probably meant, a wrong type by what was wanted. [`MachineConfig::check`] turns a configuration
//! into a [`mayfly_machine::MachineSpec`], holding every rule of its fields. The stored configuration is the JSON as it
//! was given: nothing here writes one back. This crate knows neither HTTP nor a database.

mod advice;
mod app;
mod build;
mod certificate;
mod config;
mod duration;
mod error;
mod event;
mod host;
mod ip_assignment;
mod lease;
mod machine;
mod machine_event;
mod network_policy;
mod oidc;
mod optional_fields;
mod platform;
mod read;
mod release;
mod request;
mod secret;
mod shell;
mod spec;
mod suggest;
mod volume;
mod wireguard;

pub use advice::{AdvisedSize, SizeAdvice, UsageLevels};
pub use app::{App, AppOrganization, CreateApp, CreateOrg, Organization, SetAppTtl, SetBudget};
pub use build::{BuildEvent, BuildFailure, BuiltImage, Compression, StartBuild};
pub use certificate::{
    AcmeChallengeRecord, CertificateDetail, CertificatePage, CertificateSummary,
    CertificateValidation, DnsRecords, DnsRequirements, HeldCertificate, ImportCertificate,
    IssuedCertificate, OwnershipRecord, RequestCertificate, ValidationError,
};
pub use config::{
    Autostop, CacheDrive, Check, Container, ContainerDependency, ContainerHealthcheck,
    ContainerMount, Dns, DnsForwardRule, DnsOption, EnvFrom, ExecProbe, File, Guest, HttpHeader,
    HttpOptions, HttpProbe, HttpResponseOptions, Init, MachineConfig, Metrics, Mount, Port,
    Process, ProxyProtoOptions, ReplayCache, Restart, Rootfs, RootfsPersist, SecretEnv, Service,
    ServiceConcurrency, Spot, Static, StopConfig, TcpProbe, TempDir, TlsOptions, Volume,
};
pub use duration::{GoDuration, InvalidDuration};
pub use error::ErrorBody;
pub use event::{EventPage, LoggedEvent};
pub use host::{FleetHost, HostDrain, HostMove, HostToken};
pub use ip_assignment::{AllocateIp, IpAssignment, IpAssignments, IpNetwork, IpPair};
pub use lease::{Lease, LeaseData, TakeLease};
pub use machine::{CheckStatus, ContainerStatus, Machine, MachineImage, MachineLease, Version};
pub use machine_event::{ExitEvent, MachineEvent, MachineRequest};
pub use network_policy::{
    NetworkPolicy, NetworkPolicyMachine, NetworkPolicyPort, NetworkPolicyRule,
    NetworkPolicySelector,
};
pub use oidc::CreateOidcToken;
pub use platform::{RegionInfo, Regions, VmSize};
pub use read::{InvalidBody, read, read_value};
pub use release::{
    Autoscale, CreateRelease, MoveApp, Release, ReleaseUser, RollbackRelease, ScaleConcurrency,
    ScaleCount, ScaleVm, SetAutoscale,
};
pub use request::{
    CreateMachine, ExecMachine, ExecResult, MetadataPatch, MetadataValue, ReclaimMemory, SetMemory,
    SignalMachine, SignalName, StartResult, StopMachine, UpdateMachine,
};
pub use secret::{AppSecret, AppSecrets, SecretsVersion, SetSecret, SetSecrets, VersionedSecret};
pub use shell::{UnbalancedQuote, shell_split};
pub use spec::InvalidConfig;
pub use suggest::closest;
pub use volume::{AppVolume, CreateVolume, ExtendVolume, ExtendedVolume, UpdateVolume};
pub use wireguard::{
    CreateWireguardPeer, CreateWireguardToken, CreatedWireguardPeer, CreatedWireguardToken,
    StartWireguardPeer, StartedWireguardPeer, UpdateWireguardPeer, WireguardPeer, WireguardPeers,
    WireguardToken, WireguardTokens,
};

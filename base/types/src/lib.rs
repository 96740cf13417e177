//! The values every part of Mayfly speaks in: ids, names, times, digests, image references and kinds of errors.
//!
//! Nothing here knows a runtime, a database or the network. An id is a type of its own, so that a machine's id cannot
//! be handed to a call that wants an app's. Randomness and the clock are passed in: see `mayfly-runtime`.

mod digest;
mod error;
mod hostname;
mod id;
mod image_ref;
mod ip_range;
mod name;
mod peer_key;
mod secret;
mod text;
mod timestamp;

pub use digest::{Digest, InvalidDigest};
pub use error::ErrorKind;
pub use hostname::{Hostname, InvalidHostname};
pub use id::{
    AppId, EventSeq, HostId, HostSeq, InstanceId, InvalidId, LaunchId, MachineId, NetworkId,
    OperationId, OrgId, ReleaseId, TokenId, UserId, VolumeId,
};
pub use image_ref::{ImageRef, InvalidImageRef};
pub use ip_range::{InvalidIpRange, IpRange};
pub use name::{AppName, InvalidName, MachineName, OrgSlug, Region, SecretName};
pub use peer_key::{InvalidPeerKey, PeerKey};
pub use secret::Secret;
pub use timestamp::{InvalidTimestamp, Timestamp};

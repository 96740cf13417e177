//! The public way into apps: HTTP by host name `<app>.<domain>` to a machine that is started or woken.
//!
//! One thread, one runtime and one listener (`SO_REUSEPORT`) per core; connections to machines are pooled per core, so
//! a request never crosses threads. The routes come from the catalog that hosts publish and are read through an
//! immutable snapshot: with the control plane down, the edge keeps serving what it last knew.
//!
//! HTTP/1 and clients' HTTP/2 are read here, not by a framework, and strictly: whatever two parsers could read in two ways
//! is refused, which is what makes request smuggling impossible. TLS ends here, with the certificate of the name the client
//! asks for. What an app orders to be answered elsewhere is followed and remembered; files of its image and compression
//! are the edge's own.

mod backhaul;
mod compress;
mod fleet;
mod http;
mod http2;
mod replay;
mod statics;
mod transport;

pub use backhaul::{BACKHAUL_PORT, Backhaul};
pub use fleet::{
    Fleet, FleetConfig, FleetSources, Keeper, Latency, LoadListener, LoadUnheard, WakeError, Waker,
};
pub use http::{EdgeMetrics, EdgeTotals, HttpSettings, Limit, Limits};
pub use statics::{BucketConfig, Buckets, StaticFiles};
pub use transport::{AddressRange, Edge, EdgeConfig, EdgeDeps, EdgeError, InvalidRange};

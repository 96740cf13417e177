//! TLS as a client: whose certificates are taken, and a connection for programs without a runtime.
//!
//! Small enough for `mayfly-init`; what speaks HTTP on a runtime is `mayfly-net`.

mod blocking;
mod judgement;
mod trust;

pub use blocking::{BlockingTls, ConnectError, is_server_name};
pub use judgement::{OwnJudgement, Shown};
pub use trust::{Trust, client_config};

//! HTTP and TLS plumbing: a client that streams and a server loop that stops gracefully.
//!
//! [`HttpClient`] speaks HTTP/1.1 over plain TCP and TLS (rustls with ring, the system's authorities plus one file of
//! our own). It reads and sends bodies piece by piece, follows redirects only where the request asks for it, and says
//! in [`HttpError::kind`] whether trying again can help. [`serve`] runs any tower service, such as an axum router, on
//! a bound listener, and [`Shortcut`] sends files over it without reading them. [`Prober`] asks programs how they are; [`MutualTls`] is for roles that know each other; [`carry`] puts a
//! connection into messages. Nothing here knows what is said over it.

mod authorities;
mod body;
mod carry;
mod client;
mod doorway;
mod error;
mod listener;
mod mutual;
mod probe;
mod request;
mod response;
mod serve;
mod shortcut;
mod tls_server;

pub use body::Body;
pub use carry::{Piece, carry};
pub use client::{ClientConfig, HttpClient};
pub use doorway::{Doorway, DoorwayListener, LedFor};
pub use error::HttpError;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
pub use listener::{Acceptor, Listener, MarkedSocket, PeerAddr};
pub use mutual::{MutualStream, MutualTls, PapersError, RolePapers, connect_by_fingerprint};
pub use probe::{ProbeAnswer, ProbeError, ProbeRequest, ProbeTls, Prober};
pub use request::Request;
pub use response::{Response, Upgraded};
pub use serve::{ServeConfig, serve, serve_stream};
pub use shortcut::{Shortcut, Socket};
pub use tls_server::{TlsServer, TlsServerError, TlsServerStream};

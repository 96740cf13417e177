//! The SSH server that a host runs inside each machine's network, and the certificates it believes.
//!
//! [`serve`] speaks to one client over any stream. It knows one way to sign in, an ed25519 certificate of the authority
//! the [`Guest`] names, and runs what the client asks for through the guest. It keeps nothing: no keys of users, no
//! files, no list of sessions.
//!
//! The protocol is RFC 4253, 4252 and 4254 with what every current client has: curve25519 for the keys of a session,
//! ed25519 for those of the host, ChaCha20-Poly1305 or AES-256-GCM, and strict key exchange. All cryptography is ring's.
//! Each channel has its own window, opened only as far as the program inside has taken what came before, so a slow
//! program holds up its own channel and nothing else. See `docs/design/shells.md` for why this is our own.

mod certificate;
mod channel;
mod connection;
mod exchange;
mod guest;
mod keys;
mod packet;
mod server;
mod sign_in;
mod signals;
mod window;
mod wire;

pub use certificate::{APPS_OPTION, Certificate, CertificateError, CertificateRequest, Visitor};
pub use guest::{Guest, LOGIN_SHELL, SFTP_PROGRAM, command_line};
pub use keys::{HostKey, KeyError, PublicKey, SigningKey};
pub use server::{ServerConfig, SshError, serve};

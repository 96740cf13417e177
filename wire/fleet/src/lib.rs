//! What the servers of one fleet say to each other, over mutual TLS.
//!
//! A server is a daemon with one or more hosts (one per region it plays); it is named by the first of them. Who wants to
//! know something dials: the control plane and the edges dial hosts, and every server dials the control plane for the
//! directory and the [`Roster`]. One connection carries one [`Call`] at a time; a stream keeps its connection.

mod call;
mod control_door;
mod feed;
mod join;
mod roster;

pub use call::{ApiVisitor, Call, CallError, HostCall, ImageCall, WatchMessage};
pub use control_door::ControlDoor;
pub use feed::{FeedMessage, Hello};
pub use join::{InvalidJoinToken, JoinAnswer, JoinRequest, JoinToken, RenewAnswer};
pub use roster::{Roster, RosterHost, RosterServer, TunnelEnd};

/// The name in the certificate of the server that holds the control plane.
pub const CONTROL_NAME: &str = "control.mayfly";

/// The name in a server's certificate.
pub fn server_name(server: mayfly_types::HostId) -> String {
    format!("{server}.server.mayfly")
}

/// The server a name in a certificate stands for.
pub fn named_server(name: &str) -> Option<mayfly_types::HostId> {
    name.strip_suffix(".server.mayfly")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_its_name() {
        let id: mayfly_types::HostId = "0123abcd".parse().unwrap();
        assert_eq!(named_server(&server_name(id)), Some(id));
        assert_eq!(named_server(CONTROL_NAME), None);
        assert_eq!(named_server("x.server.mayfly"), None);
    }
}

//! Answers that need no machine: proofs of ownership and redirects.

use std::sync::Arc;

use mayfly_edge_api::{Challenge, Directory};
use tokio::sync::watch;

use super::head::RequestHead;
use super::problem::Reply;
use super::site::Site;
use crate::transport::{ConnInfo, Reach};

const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The proof that a certificate authority asks for over plain HTTP (RFC 8555, 8.3).
pub(crate) fn challenge(
    directory: &watch::Receiver<Arc<Directory>>,
    conn: &ConnInfo,
    head: &RequestHead,
) -> Option<Reply> {
    let [_, target, _] = head.line();
    if !target.starts_with(CHALLENGES.as_bytes()) {
        return None;
    }
    let wanted = head.path().strip_prefix(CHALLENGES)?;
    if conn.tls.is_some() {
        return None;
    }
    directory
        .borrow()
        .challenges
        .iter()
        .find_map(|open| match open {
            Challenge::Http01 {
                hostname,
                token,
                response,
            } if hostname == head.host() && token == wanted => Some(Reply {
                status: 200,
                fields: vec![("Content-Type", "application/octet-stream".to_owned())],
                body: response.clone().into_bytes(),
            }),
            _ => None,
        })
}

/// Where a plain request goes that its service wants encrypted. Never on a private door: those have no https.
pub(crate) fn redirect(
    site: &Site,
    conn: &ConnInfo,
    head: &RequestHead,
    https_port: u16,
) -> Option<Reply> {
    if !site.port().force_https
        || conn.tls.is_some()
        || matches!(conn.door.reach, Reach::Private(_))
    {
        return None;
    }
    let port = if conn.door.reach == Reach::Dedicated {
        443
    } else {
        https_port
    };
    let port = if port == 443 {
        String::new()
    } else {
        format!(":{port}")
    };
    let target = match head.target() {
        "*" => "/",
        target => target,
    };
    Some(Reply {
        status: 301,
        fields: vec![("Location", format!("https://{}{port}{target}", head.host()))],
        body: Vec::new(),
    })
}

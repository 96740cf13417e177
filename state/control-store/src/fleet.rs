//! The servers that joined, and the tokens by which they may.

use std::net::SocketAddr;

use mayfly_db::{DbError, Reader, Row, Tx, args};
use mayfly_types::{Digest, HostId, Region, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::host::{self, HostSize};
use crate::{By, ControlStore, StoreError};

/// A server that joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetServer {
    /// Its first host.
    pub id: HostId,
    pub place: ServerPlace,
    pub joined_at: Timestamp,
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPlace {
    /// `<address or name>:<port>`
    pub address: String,
    /// In base64.
    pub tunnel_key: Option<String>,
    pub tunnel_endpoint: Option<SocketAddr>,
}

/// A server that wants to join, or says again what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewServer {
    pub id: HostId,
    /// Not empty.
    pub hosts: Vec<(HostId, Region, HostSize)>,
    pub place: ServerPlace,
}

const NEW_TOKEN: &str =
    "INSERT INTO join_token (digest, created_at, expires_at) VALUES ($1, $2, $3)";

const EXPIRE_TOKENS: &str = "DELETE FROM join_token WHERE expires_at <= $1";

const TOKEN: &str = "SELECT * FROM join_token WHERE digest = $1 AND expires_at > $2";

const USE_TOKEN: &str = "UPDATE join_token SET server_id = $2 WHERE digest = $1";

const BY_ID: &str = "SELECT * FROM fleet_server WHERE id = $1";

const ALL: &str = "
    SELECT * FROM fleet_server
     WHERE EXISTS (SELECT 1 FROM fleet_host WHERE server_id = fleet_server.id AND removed_at IS NULL)
     ORDER BY joined_at, id";

const PUT: &str = "
    INSERT INTO fleet_server (id, key_digest, address, tunnel_key, tunnel_endpoint, joined_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (id) DO NOTHING";

const MOVE: &str = "
    UPDATE fleet_server SET address = $2, tunnel_key = $3, tunnel_endpoint = $4 WHERE id = $1";

impl ControlStore {
    /// Keeps a join token by the digest of its secret; those that ended are forgotten.
    pub async fn create_join_token(
        &self,
        digest: Digest,
        expires_at: Timestamp,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(EXPIRE_TOKENS, args![by.at])?;
            tx.execute(NEW_TOKEN, args![digest.to_string(), by.at, expires_at])?;
            let after = json!({ "expires_at": expires_at });
            append(
                tx,
                &by,
                "host.token",
                &Subject::default(),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// Takes a server on by a token, which is used up; the same server with the same key may come again.
    ///
    /// # Errors
    /// `NotFound` for a token that is unknown, over, or was used by another server; `Taken` for a host id that another
    /// server or an earlier key has; `HostRemoved`.
    pub async fn join_server(
        &self,
        token: Digest,
        key: Digest,
        new: NewServer,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let server = new.id;
            let row = tx.row(TOKEN, args![token.to_string(), by.at])?;
            let no_token = || StoreError::not_found("join token", "given");
            let used_by: Option<HostId> = row.ok_or_else(no_token)?.parse_opt("server_id")?;
            if used_by.is_some_and(|other| other != server) {
                return Err(no_token());
            }
            let known = tx.row(BY_ID, args![server.as_str()])?;
            if let Some(known) = known
                && known.get::<String>("key_digest")? != key.to_string()
            {
                return Err(StoreError::taken("host", server));
            }
            tx.execute(USE_TOKEN, args![token.to_string(), server.as_str()])?;
            let place = &new.place;
            let endpoint = place.tunnel_endpoint.map(|endpoint| endpoint.to_string());
            tx.execute(
                PUT,
                args![
                    server.as_str(),
                    key.to_string(),
                    place.address.as_str(),
                    place.tunnel_key.as_deref(),
                    endpoint,
                    by.at
                ],
            )?;
            take_over(tx, server, &new, &by)?;
            let after = json!({ "server": server, "address": new.place.address });
            append(
                tx,
                &by,
                "host.join",
                &Subject::default(),
                NOTHING,
                Some(&after),
            )
        })
        .await
    }

    /// Takes over where a server is now and which hosts it has. True if anything changed.
    ///
    /// # Errors
    /// `HostRemoved` if the server has no host in this fleet any more.
    pub async fn server_said(&self, new: NewServer, by: By) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let server = new.id;
            let row = tx.row(BY_ID, args![server.as_str()])?;
            let known = row.ok_or(StoreError::HostRemoved(server))?;
            let before = from_row(&known)?;
            let fresh = new.hosts.iter().any(|(id, region, size)| {
                !host::by_id(tx, *id)
                    .ok()
                    .flatten()
                    .is_some_and(|host| host.region == *region && host.size == *size)
            });
            take_over(tx, server, &new, &by)?;
            Ok(fresh || before.place != new.place)
        })
        .await
    }

    /// Every server with a host in this fleet, oldest first.
    pub async fn servers(&self) -> Result<Vec<FleetServer>, StoreError> {
        self.read(|reader: &mut Reader<'_>| {
            let servers: Result<Vec<FleetServer>, DbError> =
                reader.rows(ALL, &[])?.iter().map(from_row).collect();
            Ok(servers?)
        })
        .await
    }
}

fn take_over(tx: &mut Tx<'_>, server: HostId, new: &NewServer, by: &By) -> Result<(), StoreError> {
    for (id, region, size) in &new.hosts {
        if let Some(known) = host::by_id(tx, *id)? {
            if known.server_id != Some(server) {
                return Err(StoreError::taken("host", id));
            }
            if known.removed_at.is_some() {
                return Err(StoreError::HostRemoved(*id));
            }
        }
        host::enrol(tx, *id, region, Some(server), *size, by)?;
    }
    let place = &new.place;
    let endpoint = place.tunnel_endpoint.map(|endpoint| endpoint.to_string());
    tx.execute(
        MOVE,
        args![
            server.as_str(),
            place.address.as_str(),
            place.tunnel_key.as_deref(),
            endpoint
        ],
    )?;
    Ok(())
}

fn from_row(row: &Row) -> Result<FleetServer, DbError> {
    Ok(FleetServer {
        id: row.parse("id")?,
        place: ServerPlace {
            address: row.get("address")?,
            tunnel_key: row.get("tunnel_key")?,
            tunnel_endpoint: row.parse_opt("tunnel_endpoint")?,
        },
        joined_at: row.get("joined_at")?,
    })
}

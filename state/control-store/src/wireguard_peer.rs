//! Users' devices that reach a network by WireGuard.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use mayfly_db::{DbError, Reader, Row, Tx, args};
use mayfly_edge_api::DirectoryPeer;
use mayfly_types::{HostId, NetworkId, OrgId, PeerKey, Region, Timestamp};
use serde_json::json;

use crate::event::{NOTHING, Subject, append};
use crate::{By, ControlStore, StoreError, network};

/// A device as it was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardPeer {
    pub public_key: PeerKey,
    pub org_id: OrgId,
    pub network: NetworkId,
    pub network_name: String,
    pub name: String,
    pub region: Region,
    pub host_id: HostId,
    pub ip: Ipv6Addr,
    pub created_at: Timestamp,
    /// Its last handshake that the store was told of.
    pub seen_at: Option<Timestamp>,
    /// `None` for a device that a user entered.
    pub delegation: Option<Delegation>,
}

/// How a device was entered by a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The name of its token.
    pub token: String,
    /// A label of the program's choice; empty for none.
    pub group: String,
}

/// A device to be entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWireguardPeer {
    pub public_key: PeerKey,
    pub org_id: OrgId,
    /// By name; it must exist.
    pub network: String,
    pub name: String,
    pub region: Region,
    pub host_id: HostId,
    /// Where free addresses are looked for first.
    pub number: u64,
    pub delegation: Option<Delegation>,
}

const SELECT: &str = "
    SELECT wireguard_peer.*, network.name AS network_name, delegation.token_name, delegation.peer_group
      FROM wireguard_peer JOIN network ON network.id = wireguard_peer.network_id
      LEFT JOIN wireguard_delegation AS delegation
        ON delegation.org_id = wireguard_peer.org_id AND delegation.peer_name = wireguard_peer.name";

const INSERT: &str = "
    INSERT INTO wireguard_peer
        (public_key, org_id, network_id, name, region, host_id, ip, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";

const DELEGATE: &str = "
    INSERT INTO wireguard_delegation (org_id, peer_name, token_name, peer_group) VALUES ($1, $2, $3, $4)";

const UNDELEGATE: &str = "DELETE FROM wireguard_delegation WHERE org_id = $1 AND peer_name = $2";

const REKEY: &str = "
    UPDATE wireguard_peer SET public_key = $2, seen_at = NULL WHERE public_key = $1";

const DELETE: &str = "DELETE FROM wireguard_peer WHERE public_key = $1";

const SEEN: &str = "
    UPDATE wireguard_peer SET seen_at = $2
     WHERE public_key = $1 AND (seen_at IS NULL OR seen_at < $2)";

/// Devices that clients enter by themselves, and enter anew when they are gone.
const INTERACTIVE: &str = "interactive-";

const UNUSED: &str = "
    WHERE wireguard_peer.name LIKE $1 AND COALESCE(wireguard_peer.seen_at, wireguard_peer.created_at) < $2
    ORDER BY wireguard_peer.created_at LIMIT 100";

/// More addresses tried than can be taken by chance.
const TRIES: u64 = 64;

impl ControlStore {
    /// Enters a device and gives it an address.
    ///
    /// # Errors
    /// `NotFound` for the network; `Taken` for a name the organization has, or a key anybody has.
    pub async fn create_wireguard_peer(
        &self,
        new: NewWireguardPeer,
        by: By,
    ) -> Result<WireguardPeer, StoreError> {
        self.write(move |tx| {
            let network = network::find(tx, new.org_id, &new.network)?;
            if by_name(tx, new.org_id, &new.name)?.is_some() {
                return Err(StoreError::taken("peer", &new.name));
            }
            if by_key(tx, new.public_key)?.is_some() {
                return Err(StoreError::taken("public key", new.public_key));
            }
            let mut ips =
                (0..TRIES).map(|more| address(network.id, new.host_id, new.number + more));
            let entered = ips.try_fold(None, |entered, ip| match entered {
                Some(ip) => Ok(Some(ip)),
                None => Ok::<_, StoreError>(insert(tx, &new, network.id, ip, &by)?.then_some(ip)),
            })?;
            let ip = entered.ok_or(StoreError::NoAddress)?;
            if let Some(delegation) = &new.delegation {
                let (token, group) = (delegation.token.as_str(), delegation.group.as_str());
                let values = args![new.org_id.as_str(), new.name.as_str(), token, group];
                tx.execute(DELEGATE, values)?;
            }
            let after = json!({
                "name": new.name,
                "region": new.region,
                "network": new.network,
                "ip": ip,
                "public_key": new.public_key,
            });
            let subject = Subject::org(new.org_id);
            append(
                tx,
                &by,
                "wireguard_peer.create",
                &subject,
                NOTHING,
                Some(&after),
            )?;
            let peer = by_key(tx, new.public_key)?;
            peer.ok_or_else(|| StoreError::not_found("peer", new.name))
        })
        .await
    }

    /// The devices of an organization, by name.
    pub async fn wireguard_peers(&self, org: OrgId) -> Result<Vec<WireguardPeer>, StoreError> {
        self.read(move |reader| {
            let sql =
                format!("{SELECT} WHERE wireguard_peer.org_id = $1 ORDER BY wireguard_peer.name");
            let rows = reader.rows(&sql, args![org.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }

    /// # Errors
    /// `NotFound` if the organization has no device of this name.
    pub async fn wireguard_peer(
        &self,
        org: OrgId,
        name: &str,
    ) -> Result<WireguardPeer, StoreError> {
        let name = name.to_owned();
        self.read(move |reader| {
            by_name(reader, org, &name)?.ok_or_else(|| StoreError::not_found("peer", name))
        })
        .await
    }

    /// Takes a device away; returns what it was.
    ///
    /// # Errors
    /// `NotFound` if the organization has no device of this name.
    pub async fn remove_wireguard_peer(
        &self,
        org: OrgId,
        name: &str,
        by: By,
    ) -> Result<WireguardPeer, StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            let peer =
                by_name(tx, org, &name)?.ok_or_else(|| StoreError::not_found("peer", name))?;
            remove(tx, &peer, &by)?;
            Ok(peer)
        })
        .await
    }

    /// Gives a device that a token entered another key, by the same token; it keeps its address. Returns what it was.
    ///
    /// # Errors
    /// `NotFound` if the token entered no device of this name; `Taken` for a key anybody has.
    pub async fn rekey_wireguard_peer(
        &self,
        org: OrgId,
        token: &str,
        name: &str,
        key: PeerKey,
        by: By,
    ) -> Result<WireguardPeer, StoreError> {
        let (token, name) = (token.to_owned(), name.to_owned());
        self.write(move |tx| {
            let peer = by_name(tx, org, &name)?.filter(|peer| {
                peer.delegation
                    .as_ref()
                    .is_some_and(|delegation| delegation.token == token)
            });
            let peer = peer.ok_or_else(|| StoreError::not_found("peer", &name))?;
            if by_key(tx, key)?.is_some() {
                return Err(StoreError::taken("public key", key));
            }
            tx.execute(REKEY, args![peer.public_key.to_string(), key.to_string()])?;
            let before = json!({ "name": name, "public_key": peer.public_key });
            let after = json!({ "name": name, "public_key": key });
            let subject = Subject::org(org);
            append(
                tx,
                &by,
                "wireguard_peer.rekey",
                &subject,
                Some(&before),
                Some(&after),
            )?;
            Ok(peer)
        })
        .await
    }

    /// Notes when devices were heard last. Not an event: it is no change of intent.
    pub async fn note_wireguard_peers(
        &self,
        seen: BTreeMap<PeerKey, Timestamp>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            for (key, at) in &seen {
                tx.execute(SEEN, args![key.to_string(), *at])?;
            }
            Ok(())
        })
        .await
    }

    /// Takes away devices that a client entered by itself and that nobody used since `since`; at most a hundred.
    pub async fn expire_wireguard_peers(
        &self,
        since: Timestamp,
        by: By,
    ) -> Result<Vec<WireguardPeer>, StoreError> {
        self.write(move |tx| {
            let sql = format!("{SELECT} {UNUSED}");
            let rows = tx.rows(&sql, args![format!("{INTERACTIVE}%"), since])?;
            let peers: Vec<WireguardPeer> = rows.iter().map(from_row).collect::<Result<_, _>>()?;
            for peer in &peers {
                remove(tx, peer, &by)?;
            }
            Ok(peers)
        })
        .await
    }

    /// Every device as gateways and names find it, in the order of keys.
    pub async fn directory_peers(&self) -> Result<Vec<DirectoryPeer>, StoreError> {
        self.read(|reader| {
            let rows = reader.rows(SELECT, &[])?;
            let mut peers: Vec<DirectoryPeer> = rows
                .iter()
                .map(|row| from_row(row).map(published))
                .collect::<Result<_, _>>()?;
            peers.sort_by_key(|peer| peer.public_key);
            Ok(peers)
        })
        .await
    }
}

fn insert(
    tx: &mut Tx<'_>,
    new: &NewWireguardPeer,
    network: NetworkId,
    ip: Ipv6Addr,
    by: &By,
) -> Result<bool, DbError> {
    let values = args![
        new.public_key.to_string(),
        new.org_id.as_str(),
        i64::from(network.0),
        new.name.as_str(),
        new.region.as_str(),
        new.host_id.as_str(),
        ip.to_string(),
        by.at,
    ];
    Ok(tx.execute(INSERT, values)? > 0)
}

fn remove(tx: &mut Tx<'_>, peer: &WireguardPeer, by: &By) -> Result<(), StoreError> {
    tx.execute(DELETE, args![peer.public_key.to_string()])?;
    tx.execute(UNDELEGATE, args![peer.org_id.as_str(), peer.name.as_str()])?;
    let before = json!({ "name": peer.name, "region": peer.region, "ip": peer.ip });
    let subject = Subject::org(peer.org_id);
    append(
        tx,
        by,
        "wireguard_peer.remove",
        &subject,
        Some(&before),
        NOTHING,
    )
}

fn by_name(
    reader: &mut Reader<'_>,
    org: OrgId,
    name: &str,
) -> Result<Option<WireguardPeer>, StoreError> {
    let sql = format!("{SELECT} WHERE wireguard_peer.org_id = $1 AND wireguard_peer.name = $2");
    let row = reader.row(&sql, args![org.as_str(), name])?;
    row.as_ref().map(from_row).transpose()
}

fn by_key(reader: &mut Reader<'_>, key: PeerKey) -> Result<Option<WireguardPeer>, StoreError> {
    let sql = format!("{SELECT} WHERE wireguard_peer.public_key = $1");
    let row = reader.row(&sql, args![key.to_string()])?;
    row.as_ref().map(from_row).transpose()
}

/// `fdaa`, 32 bits of network, 32 of the gateway's host, then a number no machine has: its first bit is set. The last
/// eight bits are the device's own to choose.
fn address(network: NetworkId, host: HostId, number: u64) -> Ipv6Addr {
    let host = u32::from_str_radix(host.as_str(), 16).expect("a host id is 8 hexadecimal digits");
    let number = u128::from(number & 0x7f_ffff_ffff) | 1 << 39;
    let bits = (0xfdaa_u128 << 112)
        | (u128::from(network.0) << 80)
        | (u128::from(host) << 48)
        | (number << 8)
        | 2;
    Ipv6Addr::from_bits(bits)
}

fn published(peer: WireguardPeer) -> DirectoryPeer {
    DirectoryPeer {
        name: peer.name,
        org_id: peer.org_id,
        network: peer.network,
        region: peer.region,
        host_id: peer.host_id,
        public_key: peer.public_key,
        ip: peer.ip,
    }
}

fn from_row(row: &Row) -> Result<WireguardPeer, StoreError> {
    let token: Option<String> = row.get("token_name")?;
    let group: Option<String> = row.get("peer_group")?;
    Ok(WireguardPeer {
        delegation: token.map(|token| Delegation {
            token,
            group: group.unwrap_or_default(),
        }),
        public_key: row.parse("public_key")?,
        org_id: row.parse("org_id")?,
        network: NetworkId(row.get("network_id")?),
        network_name: row.get("network_name")?,
        name: row.get("name")?,
        region: row.parse("region")?,
        host_id: row.parse("host_id")?,
        ip: row.parse("ip")?,
        created_at: row.get("created_at")?,
        seen_at: row.get("seen_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_their_network_behind_their_host_and_on_no_machine() {
        let host = HostId::from_random([0xa, 0xb, 0xc, 0xd, 1, 2, 3, 4]);
        let ip = address(NetworkId(0x0102_0304), host, 0x1_2233_4455);
        assert_eq!(ip.to_string(), "fdaa:102:304:abcd:1234:8122:3344:5502");
        let last = address(NetworkId(1), host, u64::MAX);
        assert_eq!(last.to_string(), "fdaa:0:1:abcd:1234:ffff:ffff:ff02");
    }
}

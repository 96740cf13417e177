//! Addresses that lead to apps.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use mayfly_db::{DbError, Reader, Row, Tx, Value, args};
use mayfly_edge_api::{AssignedAddress, EgressAddress, Reach};
use mayfly_types::{AppId, InvalidName, IpRange, NetworkId, OrgId, OrgSlug, Region, Timestamp};
use serde_json::json;

use crate::app::{App, by_id};
use crate::event::{NOTHING, Subject, append};
use crate::organization::words;
use crate::{By, ControlStore, StoreError, network};

words!(
    /// What an address is.
    AddressKind {
        /// IPv4, of one app alone.
        V4 = "v4",
        /// IPv6, of one app alone.
        V6 = "v6",
        /// IPv4 that many apps share; the host name tells them apart.
        SharedV4 = "shared_v4",
        /// IPv6 that only the machines of one network reach (Flycast).
        PrivateV6 = "private_v6",
        /// IPv4 that machines of one region leave by.
        EgressV4 = "egress_v4",
        /// IPv6 that machines of one region leave by.
        EgressV6 = "egress_v6",
    }
);

/// An address of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub kind: AddressKind,
    pub region: Option<Region>,
    /// Of a private address: who reaches it.
    pub network: Option<AddressNetwork>,
    pub service_name: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressNetwork {
    pub id: NetworkId,
    pub name: String,
    pub org_slug: OrgSlug,
}

/// An address to be given to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAddress {
    pub app_id: AppId,
    pub source: AddressSource,
    pub region: Option<Region>,
    pub service_name: String,
}

/// Addresses that an app's machines in one region shall leave by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEgress {
    pub app_id: AppId,
    pub region: Region,
    /// One is taken of each; a free one is looked for from number `start` on.
    pub ranges: Vec<IpRange>,
    pub start: u128,
}

/// Where an address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// A free one of these, looked for from number `start` on.
    Pool { range: IpRange, start: u128 },
    /// This one, which others may have too.
    Shared(IpAddr),
    /// One in the network of this name of an organization, or the app's own network; `number` has 48 bits.
    Private {
        network: Option<(OrgId, String)>,
        number: u64,
    },
}

const SELECT: &str = "
    SELECT app_address.*, network.name AS network_name, organization.slug AS org_slug
      FROM app_address
      LEFT JOIN network ON network.id = app_address.network_id
      LEFT JOIN organization ON organization.id = network.org_id";

const TAKEN: &str = "SELECT ip FROM app_address WHERE kind = $1";

const INSERT: &str = "
    INSERT INTO app_address (ip, app_id, kind, region, network_id, service_name, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

const RELEASE: &str = "DELETE FROM app_address WHERE app_id = $1 AND ip = $2";

const RELEASE_ALL: &str = "DELETE FROM app_address WHERE app_id = $1";

/// The third part of addresses that belong to no host: a host's own number stands there in addresses of machines.
const NO_HOST: u128 = 1;

impl ControlStore {
    /// Gives an app an address. Asking again for the shared one returns it.
    ///
    /// # Errors
    /// `NotFound` for the app or a named network; `NoAddress` if a pool has none that is free.
    pub async fn allocate_address(&self, new: NewAddress, by: By) -> Result<Address, StoreError> {
        self.write(move |tx| {
            let app = by_id(tx, new.app_id)?;
            let (kind, network) = match &new.source {
                AddressSource::Pool { range, .. } if range.first().is_ipv4() => {
                    (AddressKind::V4, None)
                }
                AddressSource::Pool { .. } => (AddressKind::V6, None),
                AddressSource::Shared(_) => (AddressKind::SharedV4, None),
                AddressSource::Private { network, .. } => {
                    let id = match network {
                        None => app.network_id,
                        Some((org, name)) => network::find(tx, *org, name)?.id,
                    };
                    (AddressKind::PrivateV6, Some(id))
                }
            };
            let insert = |tx: &mut Tx<'_>, ip: IpAddr| -> Result<bool, StoreError> {
                let values = args![
                    ip.to_string(),
                    new.app_id.as_str(),
                    kind.as_str(),
                    new.region.as_ref().map(Region::as_str),
                    network.map(|network| i64::from(network.0)),
                    new.service_name.as_str(),
                    by.at,
                ];
                Ok(tx.execute(INSERT, values)? > 0)
            };
            let ip = match new.source {
                AddressSource::Shared(ip) => {
                    if !insert(tx, ip)? {
                        return one(tx, new.app_id, ip);
                    }
                    ip
                }
                AddressSource::Private { number, .. } => {
                    let network = network.expect("a private address has a network");
                    let numbers = (0..=u64::from(u16::MAX)).map(|more| number.wrapping_add(more));
                    first_free(tx, numbers.map(|number| private(network, number)), insert)?
                }
                AddressSource::Pool { range, start } => {
                    let free = not_taken(tx, range, start, kind)?;
                    first_free(tx, free, insert)?
                }
            };
            let after = json!({
                "ip": ip,
                "type": kind.as_str(),
                "region": new.region,
                "service_name": new.service_name,
            });
            let subject = Subject::app(app.org_id, app.id, &app.name);
            append(tx, &by, "address.allocate", &subject, NOTHING, Some(&after))?;
            one(tx, new.app_id, ip)
        })
        .await
    }

    /// Gives an app addresses to leave by, all or none.
    ///
    /// # Errors
    /// `NotFound` for the app; `NoAddress` if a range has none that is free.
    pub async fn allocate_egress(
        &self,
        new: NewEgress,
        by: By,
    ) -> Result<Vec<Address>, StoreError> {
        self.write(move |tx| {
            let app = by_id(tx, new.app_id)?;
            let mut made = Vec::with_capacity(new.ranges.len());
            for range in &new.ranges {
                let kind = if range.first().is_ipv4() {
                    AddressKind::EgressV4
                } else {
                    AddressKind::EgressV6
                };
                let free = not_taken(tx, *range, new.start, kind)?;
                let ip = first_free(tx, free, |tx, ip| {
                    let values = args![
                        ip.to_string(),
                        new.app_id.as_str(),
                        kind.as_str(),
                        new.region.as_str(),
                        None::<i64>,
                        "",
                        by.at,
                    ];
                    Ok(tx.execute(INSERT, values)? > 0)
                })?;
                let after = json!({ "ip": ip, "type": kind.as_str(), "region": new.region });
                let subject = Subject::app(app.org_id, app.id, &app.name);
                append(tx, &by, "address.allocate", &subject, NOTHING, Some(&after))?;
                made.push(one(tx, new.app_id, ip)?);
            }
            Ok(made)
        })
        .await
    }

    /// Takes an address from an app; it is free at once.
    ///
    /// # Errors
    /// `NotFound` if the app does not have it.
    pub async fn release_address(&self, app: AppId, ip: IpAddr, by: By) -> Result<(), StoreError> {
        self.write(move |tx| {
            let found = by_id(tx, app)?;
            let address = one(tx, app, ip)?;
            tx.execute(RELEASE, args![app.as_str(), ip.to_string()])?;
            let before = json!({ "ip": ip, "type": address.kind.as_str() });
            let subject = Subject::app(found.org_id, found.id, &found.name);
            append(tx, &by, "address.release", &subject, Some(&before), NOTHING)
        })
        .await
    }

    /// The addresses of an app, oldest first.
    pub async fn addresses(&self, app: AppId) -> Result<Vec<Address>, StoreError> {
        self.read(move |reader| {
            let sql = format!(
                "{SELECT} WHERE app_address.app_id = $1 ORDER BY app_address.created_at, app_address.ip"
            );
            let rows = reader.rows(&sql, args![app.as_str()])?;
            rows.iter().map(from_row).collect()
        })
        .await
    }
}

/// More places than can be taken by others between reading and writing.
const TRIES: usize = 64;

/// Addresses of a range that are probably free.
fn not_taken(
    reader: &mut Reader<'_>,
    range: IpRange,
    start: u128,
    kind: AddressKind,
) -> Result<impl Iterator<Item = IpAddr> + use<>, StoreError> {
    let taken: HashSet<String> = reader
        .rows(TAKEN, args![kind.as_str()])?
        .iter()
        .map(|row| row.get("ip"))
        .collect::<Result<_, _>>()?;
    Ok(usable(range, start)
        .take(taken.len() + TRIES)
        .filter(move |ip| !taken.contains(&ip.to_string())))
}

/// The first and the last address of an IPv4 network mean the network, the first of an IPv6 one its routers
/// (RFC 4291, 2.6.1).
fn usable(range: IpRange, start: u128) -> impl Iterator<Item = IpAddr> {
    let (skipped, count) = match (range.first(), range.size()) {
        (IpAddr::V4(_), size) if size > 2 => (1, size - 2),
        (IpAddr::V6(_), size) if size > 1 => (1, size - 1),
        (_, size) => (0, size),
    };
    let start = start % count;
    (0..count).filter_map(move |step| range.nth(skipped + (start + step) % count))
}

fn first_free(
    tx: &mut Tx<'_>,
    candidates: impl Iterator<Item = IpAddr>,
    insert: impl Fn(&mut Tx<'_>, IpAddr) -> Result<bool, StoreError>,
) -> Result<IpAddr, StoreError> {
    for ip in candidates {
        if insert(tx, ip)? {
            return Ok(ip);
        }
    }
    Err(StoreError::NoAddress)
}

/// `fdaa`, 32 bits of network, the host number that no host has, 48 bits.
fn private(network: NetworkId, number: u64) -> IpAddr {
    let bits = (0xfdaa_u128 << 112)
        | (u128::from(network.0) << 80)
        | (NO_HOST << 48)
        | u128::from(number & 0xffff_ffff_ffff);
    Ipv6Addr::from_bits(bits).into()
}

/// Gives an app others in place of the private addresses of the network it leaves.
pub(crate) fn renumber(
    tx: &mut Tx<'_>,
    app: &App,
    network: NetworkId,
    by: &By,
) -> Result<(), StoreError> {
    let sql = format!(
        "{SELECT} WHERE app_address.app_id = $1 AND app_address.network_id = $2 ORDER BY app_address.ip"
    );
    let rows = tx.rows(&sql, args![app.id.as_str(), i64::from(app.network_id.0)])?;
    for row in &rows {
        let address = from_row(row)?;
        let IpAddr::V6(old) = address.ip else {
            continue;
        };
        tx.execute(RELEASE, args![app.id.as_str(), address.ip.to_string()])?;
        let start = old.to_bits() as u64;
        let numbers = (0..=u64::from(u16::MAX)).map(|more| start.wrapping_add(more));
        let ip = first_free(
            tx,
            numbers.map(|number| private(network, number)),
            |tx, ip| {
                let values = args![
                    ip.to_string(),
                    app.id.as_str(),
                    address.kind.as_str(),
                    address.region.as_ref().map(Region::as_str),
                    Some(i64::from(network.0)),
                    address.service_name.as_str(),
                    by.at,
                ];
                Ok(tx.execute(INSERT, values)? > 0)
            },
        )?;
        let subject = Subject::app(app.org_id, app.id, &app.name);
        let (before, after) = (json!({ "ip": address.ip }), json!({ "ip": ip }));
        append(
            tx,
            by,
            "address.renumber",
            &subject,
            Some(&before),
            Some(&after),
        )?;
    }
    Ok(())
}

/// Every address of an app that is deleted.
pub(crate) fn release_all(tx: &mut Tx<'_>, app: AppId) -> Result<(), DbError> {
    tx.execute(RELEASE_ALL, args![app.as_str()]).map(drop)
}

/// Where an app is reached, and what it leaves by.
pub(crate) type Assigned = (Vec<AssignedAddress>, Vec<EgressAddress>);

/// Addresses as edges find them, by app, of all apps or of some; those of one app in the order of their text.
pub(crate) fn assigned(
    reader: &mut Reader<'_>,
    only: Option<&[AppId]>,
) -> Result<BTreeMap<AppId, Assigned>, StoreError> {
    let (condition, values) = match only {
        None => (String::new(), Vec::new()),
        Some(apps) => {
            let places: Vec<String> = (1..=apps.len()).map(|place| format!("${place}")).collect();
            let values = apps.iter().map(|app| Value::from(app.as_str())).collect();
            let places = places.join(", ");
            (format!(" WHERE app_address.app_id IN ({places})"), values)
        }
    };
    let mut found: BTreeMap<AppId, Assigned> = BTreeMap::new();
    let sql = format!("{SELECT}{condition} ORDER BY app_address.ip");
    for row in &reader.rows(&sql, &values)? {
        let address = from_row(row)?;
        let of_app = found.entry(row.parse("app_id")?).or_default();
        if let (AddressKind::EgressV4 | AddressKind::EgressV6, Some(region)) =
            (address.kind, &address.region)
        {
            of_app.1.push(EgressAddress {
                ip: address.ip,
                region: region.clone(),
            });
            continue;
        }
        let reach = match (address.kind, &address.network) {
            (AddressKind::SharedV4, _) => Reach::Shared,
            (AddressKind::PrivateV6, Some(network)) => Reach::Private(network.id),
            _ => Reach::Dedicated,
        };
        let assigned = AssignedAddress {
            ip: address.ip,
            reach,
            region: address.region,
        };
        of_app.0.push(assigned);
    }
    Ok(found)
}

fn one(reader: &mut Reader<'_>, app: AppId, ip: IpAddr) -> Result<Address, StoreError> {
    let sql = format!("{SELECT} WHERE app_address.app_id = $1 AND app_address.ip = $2");
    let row = reader.row(&sql, args![app.as_str(), ip.to_string()])?;
    from_row(&row.ok_or_else(|| StoreError::not_found("address", ip))?)
}

fn from_row(row: &Row) -> Result<Address, StoreError> {
    let region: Option<String> = row.get("region")?;
    let network: Option<u32> = row.get("network_id")?;
    Ok(Address {
        ip: row.parse("ip")?,
        kind: row.parse("kind")?,
        region: region
            .map(|region| region.parse())
            .transpose()
            .map_err(|error: InvalidName| {
                DbError::column("app_address.region", error.to_string())
            })?,
        network: match network {
            None => None,
            Some(id) => Some(AddressNetwork {
                id: NetworkId(id),
                name: row.get("network_name")?,
                org_slug: row.parse("org_slug")?,
            }),
        },
        service_name: row.get("service_name")?,
        created_at: row.get("created_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_give_every_usable_address_once() {
        for (range, start, first, count) in [
            ("10.0.0.0/29", 0, "10.0.0.1", 6),
            ("10.0.0.0/29", 5, "10.0.0.6", 6),
            ("10.0.0.0/29", u128::MAX, "10.0.0.4", 6),
            ("10.0.0.4/31", 1, "10.0.0.5", 2),
            ("10.0.0.4/32", 7, "10.0.0.4", 1),
            ("fd6d::/126", 0, "fd6d::1", 3),
        ] {
            let all: Vec<IpAddr> = usable(range.parse().unwrap(), start).collect();
            assert_eq!(all[0].to_string(), first, "{range} from {start}");
            let different: HashSet<&IpAddr> = all.iter().collect();
            assert_eq!((all.len(), different.len()), (count, count), "{range}");
        }
    }

    #[test]
    fn private_addresses_lie_in_their_network_and_on_no_host() {
        let ip = private(NetworkId(0x0102_0304), u64::MAX);
        assert_eq!(ip.to_string(), "fdaa:102:304:0:1:ffff:ffff:ffff");
    }
}

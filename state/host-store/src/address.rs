use std::net::Ipv4Addr;

use mayfly_db::{Tx, args};
use mayfly_types::MachineId;

use crate::StoreError;

/// The IPv4 addresses machines are given, one after the other from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    pub first: Ipv4Addr,
    pub count: u32,
}

const COUNT: &str = "
    INSERT INTO counter (name, value) VALUES ($1, 1)
    ON CONFLICT (name) DO UPDATE SET value = counter.value + 1
    RETURNING value";

const IPV4_TAKEN: &str = "SELECT 1 AS one FROM machine WHERE ipv4 = $1";

/// The next value of a counter, from 1; never given twice.
pub(crate) fn count(tx: &mut Tx<'_>, name: &str) -> Result<i64, StoreError> {
    let row = tx.row(COUNT, args![name])?;
    let row = row.expect("an insert that returns a value returns a row");
    Ok(row.get("value")?)
}

/// An address of the pool that no machine has, with its place in the pool. A freed one is given again as late as possible.
pub(crate) fn free_ipv4(
    tx: &mut Tx<'_>,
    pool: AddressPool,
    machine: MachineId,
) -> Result<(i64, Ipv4Addr), StoreError> {
    for _ in 0..pool.count {
        let place = count(tx, "ipv4")? % i64::from(pool.count);
        if tx.row(IPV4_TAKEN, args![place])?.is_none() {
            let offset =
                u32::try_from(place).expect("a place in the pool is below its 32-bit count");
            return Ok((place, Ipv4Addr::from(u32::from(pool.first) + offset)));
        }
    }
    Err(StoreError::NoAddress(machine))
}

use std::net::Ipv4Addr;

use mayfly_db::{Tx, args};
use mayfly_types::MachineId;

use crate::StoreError;

/// Carrier-grade NAT space (RFC 6598): unlikely to be in use on a server's own networks. The first address stays free.
const POOL: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
const POOL_SIZE: i64 = 1 << 16;

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

/// An address of the pool that no machine has; a freed one is given again as late as possible.
pub(crate) fn free_ipv4(
    tx: &mut Tx<'_>,
    machine: MachineId,
) -> Result<(i64, Ipv4Addr), StoreError> {
    for _ in 0..POOL_SIZE {
        let place = count(tx, "ipv4")? % POOL_SIZE;
        // Network and broadcast addresses, and the first ones, which gateways like to have.
        if matches!(place, 0..=1) || place == POOL_SIZE - 1 {
            continue;
        }
        if tx.row(IPV4_TAKEN, args![place])?.is_none() {
            let place_bits = u32::try_from(place).expect("the pool is smaller than 32 bits");
            return Ok((place, Ipv4Addr::from(u32::from(POOL) + place_bits)));
        }
    }
    Err(StoreError::NoAddress(machine))
}

use std::net::Ipv6Addr;

use mayfly_types::{HostId, NetworkId};

/// The private address of a machine: `fdaa` · network · host · machine's number on the host · 2.
/// Shape: <https://fly.io/docs/networking/private-networking/>.
pub fn private_ip(network: NetworkId, host: HostId, number: u32) -> Ipv6Addr {
    let host =
        u32::from_str_radix(host.as_str(), 16).expect("a host id is eight hexadecimal digits");
    let bits = (0xfdaa_u128 << 112)
        | (u128::from(network.0) << 80)
        | (u128::from(host) << 48)
        | (u128::from(number) << 16)
        | 2;
    Ipv6Addr::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expanded;

    #[test]
    fn groups_are_network_host_and_machine() {
        let host: HostId = "a7b0c1d2".parse().unwrap();
        let address = private_ip(NetworkId(0x0001_0002), host, 0x0003_0004);
        assert_eq!(expanded(address), "fdaa:1:2:a7b0:c1d2:3:4:2");
        assert_eq!(
            expanded(private_ip(NetworkId(0), host, 1)),
            "fdaa:0:0:a7b0:c1d2:0:1:2"
        );
    }
}

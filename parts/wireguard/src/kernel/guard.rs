//! The kernel's WireGuard listens at every address of the server. What is not for the one that was wanted is dropped by a
//! table of nftables with the interface's name. It is there before the link listens.
//!
//! What this server's own programs send may come: they could speak to any of its addresses. So may answers to what the
//! link itself began, from whatever address the routes chose.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

/// Lets the interface be heard at `listen` only.
pub(super) fn set(name: &str, listen: SocketAddr) -> io::Result<()> {
    nft(&rules(name, listen))
}

/// Takes the table away; absent is success.
pub(super) fn clear(name: &str) -> io::Result<()> {
    nft(&empty(name))
}

fn empty(name: &str) -> String {
    // Adding first makes deleting succeed.
    format!("add table inet {name}\ndelete table inet {name}\n")
}

fn rules(name: &str, listen: SocketAddr) -> String {
    let conditions = match listen.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => Vec::new(),
        IpAddr::V4(ip) if ip.is_unspecified() => vec!["meta nfproto ipv6".to_owned()],
        IpAddr::V4(ip) => vec!["meta nfproto ipv6".to_owned(), format!("ip daddr != {ip}")],
        IpAddr::V6(ip) => vec!["meta nfproto ipv4".to_owned(), format!("ip6 daddr != {ip}")],
    };
    let mut text = empty(name);
    if conditions.is_empty() {
        return text;
    }
    text += &format!(
        "add table inet {name}\n\
         add chain inet {name} bound {{ type filter hook input priority filter; policy accept; }}\n\
         add rule inet {name} bound iifname lo accept\n\
         add rule inet {name} bound ct state established,related accept\n"
    );
    let port = listen.port();
    for condition in conditions {
        text += &format!("add rule inet {name} bound udp dport {port} {condition} drop\n");
    }
    text
}

fn nft(text: &str) -> io::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = nft.stdin.take().expect("stdin is piped");
    let written = input.write_all(text.as_bytes());
    drop(input);
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("nft failed").to_owned();
    Err(io::Error::other(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_address_is_heard() {
        let drops = |listen: &str| -> Vec<String> {
            let text = rules("wg0", listen.parse().unwrap());
            let drops = text.lines().filter(|line| line.ends_with("drop"));
            let start = "add rule inet wg0 bound udp dport 7 ";
            drops
                .map(|line| line.strip_prefix(start).unwrap().to_owned())
                .collect()
        };
        assert!(drops("[::]:7").is_empty());
        assert_eq!(drops("0.0.0.0:7"), ["meta nfproto ipv6 drop"]);
        assert_eq!(
            drops("192.0.2.1:7"),
            ["meta nfproto ipv6 drop", "ip daddr != 192.0.2.1 drop"]
        );
        assert_eq!(
            drops("[2001:db8::1]:7"),
            ["meta nfproto ipv4 drop", "ip6 daddr != 2001:db8::1 drop"]
        );
    }
}

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::DnsSpec;

/// The text of a machine's `/etc/hosts`. `fly-local-6pn` and `fly-global-services` are the addresses programs bind to
/// for private and for public UDP traffic.
pub fn etc_hosts(
    hostname: &str,
    fqdn: Option<&str>,
    private_ip: Ipv6Addr,
    ipv4: Ipv4Addr,
) -> String {
    let names = fqdn.map_or_else(|| hostname.to_owned(), |fqdn| format!("{fqdn} {hostname}"));
    format!(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         {private_ip}\tfly-local-6pn {names}\n\
         {ipv4}\tfly-global-services\n"
    )
}

/// The text of a machine's `/etc/resolv.conf`: its own name servers, or else those the host offers.
pub fn etc_resolv_conf(dns: &DnsSpec, offered: &[String]) -> String {
    let servers = if dns.nameservers.is_empty() {
        offered
    } else {
        &dns.nameservers
    };
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !dns.searches.is_empty() {
        let _ = writeln!(text, "search {}", dns.searches.join(" "));
    }
    if !dns.options.is_empty() {
        let _ = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_servers_replace_the_offered() {
        let offered = ["192.0.2.53".to_owned()];
        assert_eq!(
            etc_resolv_conf(&DnsSpec::default(), &offered),
            "nameserver 192.0.2.53\n"
        );
        let dns = DnsSpec {
            nameservers: vec!["fdaa::3".into()],
            searches: vec!["a.internal".into(), "internal".into()],
            options: vec!["ndots:2".into()],
            ..Default::default()
        };
        let text = etc_resolv_conf(&dns, &offered);
        assert_eq!(
            text,
            "nameserver fdaa::3\nsearch a.internal internal\noptions ndots:2\n"
        );
    }

    #[test]
    fn the_machine_finds_itself() {
        let text = etc_hosts(
            "web-1",
            Some("web-1.example"),
            "fdaa::1".parse().unwrap(),
            "10.0.0.2".parse().unwrap(),
        );
        assert!(
            text.contains("fdaa::1\tfly-local-6pn web-1.example web-1\n"),
            "{text}"
        );
        assert!(text.contains("10.0.0.2\tfly-global-services\n"), "{text}");
    }
}

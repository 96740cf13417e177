use std::fs;
use std::io;
use std::net::IpAddr;

/// The facts of the server a host runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Changes with every boot of the kernel.
    pub boot_id: String,
    pub memory_mib: u64,
    pub cpus: u32,
    /// As the driver calls what it found: `v1`, `v2` or `hybrid`.
    pub cgroups: String,
    /// The resolvers the server itself asks.
    pub nameservers: Vec<IpAddr>,
}

impl Server {
    /// Asks the kernel; which control groups are used is the driver's to know.
    pub fn detect(cgroups: &str) -> io::Result<Server> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        // A server without the file has no resolver.
        let resolv_conf = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Ok(Server {
            boot_id: boot_id.trim().to_owned(),
            memory_mib: total_kib(&meminfo) / 1024,
            cpus: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
            cgroups: cgroups.to_owned(),
            nameservers: nameservers(&resolv_conf),
        })
    }
}

fn total_kib(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_in_order() {
        let text =
            "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch x\nnameserver ::1\n";
        let read = ["127.0.0.53", "10.0.0.2", "::1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(nameservers(text), read);
        assert_eq!(total_kib("MemFree: 1 kB\nMemTotal:  2048 kB\n"), 2048);
        assert!(Server::detect("v2").unwrap().memory_mib > 0);
    }
}

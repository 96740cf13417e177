//! What runs in a machine, read from `/proc` of the host: `proc(5)`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mayfly_host_api::{ProcessInfo, Socket};

/// Describes the processes, by the ids the machine knows them by. One that ends meanwhile is left out.
pub(crate) fn describe(pids: &[u32]) -> Vec<ProcessInfo> {
    let Some(first) = pids.first() else {
        return Vec::new();
    };
    let mut listening = listen_sockets(*first, "tcp", parse_v4);
    listening.extend(listen_sockets(*first, "tcp6", parse_v6));
    let mut processes: Vec<ProcessInfo> = pids
        .iter()
        .filter_map(|pid| one(*pid, &listening))
        .collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

fn one(pid: u32, listening: &BTreeMap<u64, Socket>) -> Option<ProcessInfo> {
    let directory = format!("/proc/{pid}");
    let read = |name: &str| fs::read_to_string(format!("{directory}/{name}")).ok();
    let status = read("status")?;
    let inside = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let stat = read("stat")?;
    let (name, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system) = (field(14)?, field(15)?);
    let resident_kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Some(ProcessInfo {
        pid: inside.split_whitespace().last()?.parse().ok()?,
        stime: system,
        rtime: user + system,
        command: command(&directory).unwrap_or_else(|| {
            let name = name.split_once('(').map_or(name, |(_, name)| name);
            format!("[{name}]")
        }),
        directory: fs::read_link(format!("{directory}/cwd"))
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        cpu: user + system,
        rss: resident_kib
            .and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .unwrap_or_default()
            * 1024,
        listen_sockets: sockets_of(&directory, listening),
    })
}

fn command(directory: &str) -> Option<String> {
    let bytes = fs::read(format!("{directory}/cmdline")).ok()?;
    let words: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let text = words.join(" ").trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

fn sockets_of(directory: &str, listening: &BTreeMap<u64, Socket>) -> Vec<Socket> {
    let Ok(descriptors) = fs::read_dir(format!("{directory}/fd")) else {
        return Vec::new();
    };
    descriptors
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            listening.get(&inode.parse().ok()?).cloned()
        })
        .collect()
}

/// The listening sockets of a process's network namespace, by inode.
fn listen_sockets(
    pid: u32,
    proto: &str,
    parse: fn(&str) -> Option<IpAddr>,
) -> BTreeMap<u64, Socket> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string(format!("/proc/{pid}/net/{proto}")).unwrap_or_default();
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let socket = Socket {
            proto: proto.to_owned(),
            address: SocketAddr::new(parse(address)?, port).to_string(),
        };
        let listens = *fields.get(3)? == LISTEN;
        let inode = fields.get(9)?.parse().ok()?;
        listens.then_some((inode, socket))
    });
    rows.collect()
}

/// 32-bit words in the machine's byte order, as the kernel prints them.
fn words<const N: usize>(text: &str) -> Option<[u32; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        *word = u32::from_str_radix(text.get(8 * index..8 * index + 8)?, 16).ok()?;
    }
    Some(words)
}

fn parse_v4(text: &str) -> Option<IpAddr> {
    let [word] = words(text)?;
    Some(Ipv4Addr::from(word.to_ne_bytes()).into())
}

fn parse_v6(text: &str) -> Option<IpAddr> {
    let words: [u32; 4] = words(text)?;
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    Some(Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_prints_them() {
        let v4 = parse_v4("0100007F").unwrap();
        assert_eq!(v4.to_string(), "127.0.0.1");
        let v6 = parse_v6("00000000000000000000000001000000").unwrap();
        assert_eq!(v6.to_string(), "::1");
        assert_eq!(parse_v4("01"), None);
    }

    #[test]
    fn our_own_process_is_described_with_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let me = describe(&[std::process::id()]).remove(0);
        assert!(me.rss > 0 && !me.command.is_empty());
        assert!(
            me.listen_sockets
                .iter()
                .any(|socket| socket.address == address)
        );
    }
}

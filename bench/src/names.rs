//! Questions about names that the server answers from its own data, per second of its CPU time, beside unbound and knot
//! with the same names and addresses.
//!
//! All listen on loopback with one thread, and are asked in turns by dnsperf, which does not count.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mayfly_edge_api::Directory;
use mayfly_host_api::{Catalog, CatalogEntry};
use mayfly_machine::MachineState;
use mayfly_names::{NamesConfig, Sources};
use mayfly_runtime::{Stop, SystemEntropy};
use mayfly_types::{AppId, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};
use tokio::sync::watch;

use crate::stats::{Spread, median};

/// The argument that makes this program the server of names under measurement.
pub(crate) const ROLE: &str = "--serve-names";

const APPS: u32 = 1000;
const MACHINES_PER_APP: u32 = 3;
const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

/// A server under measurement; it ends with this value.
struct Server {
    name: &'static str,
    port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let questions = folder.path().join("questions");
    let mut text = String::new();
    for app in 0..APPS {
        writeln!(text, "app{app}.internal AAAA")?;
    }
    std::fs::write(&questions, text)?;
    let servers = [ours()?, unbound(folder.path())?, knot(folder.path())?];
    let mut rates = vec![Vec::new(); servers.len()];
    for _ in 0..ROUNDS {
        for (server, rates) in servers.iter().zip(&mut rates) {
            rates.push(round(server, &questions)?);
        }
    }
    for (server, rates) in servers.iter().zip(&rates) {
        println!(
            "{}: {} questions per CPU second",
            server.name,
            Spread::of(rates)
        );
    }
    for (server, theirs) in servers.iter().zip(&rates).skip(1) {
        println!(
            "ours against {}: ratio {:.2}",
            server.name,
            median(&rates[0]) / median(theirs)
        );
    }
    Ok(())
}

/// Questions answered per second of the server's CPU time.
fn round(server: &Server, questions: &Path) -> Result<f64> {
    let before = cpu_of(server.child.id())?;
    let output = Command::new("dnsperf")
        .args(["-s", "::1", "-f", "inet6", "-c", "8", "-q", "400", "-l"])
        .arg(SECONDS.to_string())
        .args(["-p", &server.port.to_string(), "-d"])
        .arg(questions)
        .output()
        .context("run dnsperf (package dnsperf)")?;
    let spent = cpu_of(server.child.id())? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |label: &str| -> Result<f64> {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("{label} is missing in what dnsperf says: {text}"))
    };
    let answered = figure("Queries completed:")?;
    let good = text.lines().any(|line| {
        line.contains("Response codes:") && line.contains("NOERROR") && !line.contains("SERVFAIL")
    });
    ensure!(good, "{} does not answer well: {text}", server.name);
    Ok(answered / spent.as_secs_f64())
}

/// What the kernel counts for all threads of a process, to the nanosecond.
fn cpu_of(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split_whitespace().next().unwrap_or_default();
        total += on_cpu.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

fn address(app: u32, machine: u32) -> Ipv6Addr {
    let bits = 0xfdaa_u128 << 112 | 1 << 80 | u128::from(app) << 32 | u128::from(machine) << 16 | 2;
    Ipv6Addr::from_bits(bits)
}

fn ours() -> Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ROLE)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(Server {
        name: "ours",
        port: line.trim().parse()?,
        child,
    })
}

/// Serves on a free port of loopback, which is the address of a machine there, until it is killed.
pub(crate) fn serve() -> Result<()> {
    let mut entries = vec![entry("asker", 0, Ipv6Addr::LOCALHOST)];
    for app in 0..APPS {
        let name = format!("app{app}");
        let number = |machine| app * MACHINES_PER_APP + machine + 1;
        entries.extend(
            (0..MACHINES_PER_APP)
                .map(|machine| entry(&name, number(machine), address(app, machine))),
        );
    }
    let catalog: Catalog = Arc::new(entries.into_iter().map(Arc::new).collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (_catalog, catalogs) = watch::channel(catalog);
        let (_directory, directories) = watch::channel(Arc::<Directory>::default());
        let config = NamesConfig {
            listen: SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0),
            cores: 1,
            upstreams: Vec::new(),
        };
        let sources = Sources {
            catalog: catalogs,
            directory: directories,
        };
        let server = config.build(sources, Arc::new(SystemEntropy)).await?;
        println!("{}", server.address().port());
        server.run(Stop::new()).await;
        Ok(())
    })
}

fn entry(app: &str, number: u32, private_ip: Ipv6Addr) -> CatalogEntry {
    let mut random = [0; 14];
    for (at, byte) in random.iter_mut().take(8).enumerate() {
        *byte = (number >> (4 * at)) as u8;
    }
    CatalogEntry {
        machine_id: MachineId::from_random(random),
        instance_id: InstanceId::new(Timestamp::default(), [0; 10]),
        app_id: AppId::from_random([0; 16]),
        app_name: app.parse().expect("a name of letters and digits"),
        org_id: OrgId::from_random([0; 16]),
        network: NetworkId(1),
        host_id: HostId::from_random([0; 8]),
        region: "iad".parse().expect("a region's code"),
        private_ip,
        ipv4: Ipv4Addr::LOCALHOST,
        state: MachineState::Started,
        cordoned: false,
        services: Vec::new(),
        statics: Vec::new(),
        metadata: Default::default(),
        in_dns: true,
        primary_region: None,
        checks: Vec::new(),
    }
}

fn unbound(folder: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut text = format!(
        "server:\n  interface: ::1@{port}\n  num-threads: 1\n  username: \"\"\n  chroot: \"\"\n  directory: \"{}\"\n  \
         pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  do-ip4: no\n  access-control: ::1/128 allow\n  \
         module-config: \"iterator\"\n  local-zone: \"internal.\" static\n",
        folder.display()
    );
    each_record(|name, ip| writeln!(text, "  local-data: \"{name}. 5 IN AAAA {ip}\""))?;
    text.push_str("remote-control:\n  control-enable: no\n");
    let config = folder.join("unbound.conf");
    std::fs::write(&config, text)?;
    let mut command = Command::new("unbound");
    command.args(["-d", "-c"]).arg(&config);
    start("unbound", port, command, folder)
}

fn knot(folder: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut zone = String::from(
        "$ORIGIN internal.\n$TTL 5\n@ SOA ns. admin. 1 3600 600 86400 5\n@ NS ns.internal.\nns AAAA ::1\n",
    );
    each_record(|name, ip| writeln!(zone, "{name}. 5 AAAA {ip}"))?;
    std::fs::write(folder.join("internal.zone"), zone)?;
    let text = format!(
        "server:\n  rundir: \"{0}\"\n  listen: ::1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{0}\"\nlog:\n  - target: stderr\n    any: error\nzone:\n  - domain: internal\n    \
         storage: \"{0}\"\n    file: internal.zone\n",
        folder.display()
    );
    let config = folder.join("knot.conf");
    std::fs::write(&config, text)?;
    let mut command = Command::new("knotd");
    command.arg("-c").arg(&config);
    start("knot", port, command, folder)
}

fn each_record(mut write: impl FnMut(&str, Ipv6Addr) -> std::fmt::Result) -> Result<()> {
    for app in 0..APPS {
        for machine in 0..MACHINES_PER_APP {
            write(&format!("app{app}.internal"), address(app, machine))?;
        }
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn start(name: &'static str, port: u16, mut command: Command, folder: &Path) -> Result<Server> {
    let log = folder.join(format!("{name}.log"));
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .with_context(|| format!("start {name} (package {name})"))?;
    let server = Server { name, port, child };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !answers(port)? {
        let text = std::fs::read_to_string(&log)?;
        ensure!(Instant::now() < deadline, "{name} does not answer: {text}");
    }
    Ok(server)
}

/// Whether somebody at the port knows `app0.internal`.
fn answers(port: u16) -> Result<bool> {
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["app0", "internal", ""] {
        question.push(label.len() as u8);
        question.extend(label.bytes());
    }
    question.extend([0, 28, 0, 1]);
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect((Ipv6Addr::LOCALHOST, port))?;
    let mut answer = [0; 512];
    let asked = socket
        .send(&question)
        .and_then(|_| socket.recv(&mut answer));
    Ok(asked.is_ok_and(|length| length > 12) && answer[7] == MACHINES_PER_APP as u8)
}

//! The edge in a process by itself, in front of one server on loopback: for finding out what a change of the edge costs
//! without building and starting a whole cloud.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mayfly_edge::{
    Buckets, EdgeConfig, EdgeDeps, FleetConfig, FleetSources, HttpSettings, Latency, Limit, Limits,
};
use mayfly_edge_api::{AssignedAddress, Directory, DirectoryApp, Reach};
use mayfly_host_api::CatalogEntry;
use mayfly_machine::{
    Concurrency, ConcurrencyKind, Handler, PortSpec, Protocol, ProxyProtoVersion, ServiceSpec,
    TlsOptions,
};
use mayfly_runtime::telemetry::{self, LogFormat};
use mayfly_runtime::{Stop, SystemClock, SystemEntropy};
use tokio::sync::watch;

use super::peers::Proxy;
use super::{APP, DOMAIN, TCP_PORT, upstream};
use crate::fleet::{Nobody, entry_of};

/// The argument that makes this program the edge.
pub(crate) const ROLE: &str = "--serve-edge";
/// The app's own address, where its TCP port is.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 99, 77, 1);

/// An edge and the server behind it, each in a process, until dropped.
pub(super) struct Alone {
    pub(super) proxy: Proxy,
    pub(super) upstream: String,
    children: Vec<Child>,
}

impl Alone {
    pub(super) fn start() -> Result<Alone> {
        let server = play(upstream::ROLE)?;
        let edge = play(ROLE)?;
        let pid = edge.id();
        let mut children = vec![server, edge];
        let output = children[1].stdout.take().context("the edge's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ports: Vec<u16> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [plain, tls] = ports[..] else {
            anyhow::bail!("the edge says {line:?}");
        };
        Ok(Alone {
            proxy: Proxy {
                name: "mayfly",
                pid,
                plain,
                tls,
                tcp: Some(SocketAddr::from((OWN, TCP_PORT))),
            },
            upstream: format!("127.0.0.1:{}", upstream::PORT),
            children,
        })
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn play(role: &str) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(role)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run this program with {role}"))
}

/// Serves as the edge until killed; says its two ports.
pub(crate) fn serve() -> Result<()> {
    // Whether anything is logged or not, asking costs.
    telemetry::start(LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> Result<()> {
    let entry = entry()?;
    let app = DirectoryApp {
        app_id: entry.app_id,
        name: entry.app_name.clone(),
        org_id: entry.org_id,
        network: entry.network,
        hostnames: Vec::new(),
        addresses: vec![AssignedAddress {
            ip: IpAddr::V4(OWN),
            reach: Reach::Dedicated,
            region: None,
        }],
        replay_sources: Vec::new(),
        egress: Vec::new(),
        policies: Vec::new(),
        autoscaled: false,
    };
    let catalog = watch::Sender::new(Arc::new(vec![Arc::new(entry)]));
    let mut directory = Directory::default();
    directory.apps.push(Arc::new(app));
    let directory = watch::Sender::new(Arc::new(directory));
    let config = FleetConfig {
        domain: DOMAIN.to_owned(),
        region: "ams".parse()?,
        autostop_period: Duration::from_secs(3600),
        latency: Latency::default(),
    };
    let sources = FleetSources {
        catalogs: vec![catalog.subscribe()],
        directory: directory.subscribe(),
        others: watch::Sender::new(Default::default()).subscribe(),
    };
    let (fleet, keeper) = config.build(sources, Arc::new(Nobody), &SystemEntropy);
    // Never reached, but looked at for every request.
    let limits = Limits {
        default: Limit {
            requests_per_second: Some(10_000_000),
            connections: Some(100_000),
        },
        ..Limits::default()
    };
    let edge = EdgeConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        https_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        domain: DOMAIN.to_owned(),
        region: "ams".parse()?,
        cores: 2,
        accept_proxy_protocol: Vec::new(),
        serves_everywhere: true,
        passages: BTreeMap::new(),
        drain: Duration::from_secs(1),
        http: HttpSettings {
            limits,
            ..HttpSettings::default()
        },
    }
    .build(EdgeDeps {
        fleet,
        directory: directory.subscribe(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        statics: Arc::new(()),
        buckets: Buckets::new(BTreeMap::new(), None),
        inherited: Vec::new(),
    })?;
    println!("{} {}", edge.address().port(), edge.https_address().port());
    let stop = Stop::new();
    let (ran, ()) = tokio::join!(edge.run(stop.clone()), keeper.run(stop));
    Ok(ran?)
}

fn entry() -> Result<CatalogEntry> {
    let public = |port: u16, handlers: &[Handler]| PortSpec {
        first: port,
        last: port,
        handlers: handlers.to_vec(),
        force_https: false,
        tls: TlsOptions::default(),
        http: Default::default(),
        proxy_proto: ProxyProtoVersion::default(),
    };
    let service = ServiceSpec {
        ports: vec![
            public(80, &[Handler::Http]),
            public(443, &[Handler::Tls, Handler::Http]),
            public(TCP_PORT, &[]),
        ],
        concurrency: Concurrency {
            kind: ConcurrencyKind::Requests,
            soft: 5000,
            hard: Some(10_000),
        },
        ..ServiceSpec::new(Protocol::Tcp, upstream::PORT)
    };
    let mut entry = entry_of(APP, 7)?;
    entry.services = vec![service];
    Ok(entry)
}

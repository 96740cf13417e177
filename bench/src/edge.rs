//! The edge beside Debian's HAProxy and nginx: CPU time per request of each proxy's own processes, in turns, in front of
//! one tiny upstream that runs in a machine of ours.
//!
//! The daemon runs as it is shipped, with routing, counters, limits and logs; its CPU time is that of the whole daemon.
//! The peers route to one fixed server and write no access log.

mod alone;
mod idle;
mod load;
mod peers;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mayfly_testing::{CloudOptions, TestCloud, TestImage};
use serde_json::json;

use crate::stats::{Spread, median};
use alone::Alone;
use load::{Load, Outcome};
use peers::{Peers, Proxy};

const APP: &str = "bench";
const DOMAIN: &str = "mayfly.localhost";
/// Where the app takes bytes as they come, at an address of its own.
const TCP_PORT: u16 = 9000;
const IMAGE: &str = "bench.local/upstream:1";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// Measures only what has this in its name.
const ONLY: &str = "MAYFLY_BENCH_ONLY";
/// Set, the edge runs in a process by itself: quicker to build, and without what else a daemon does.
const ALONE: &str = "MAYFLY_BENCH_ALONE";

/// What is measured, and how much of HAProxy's cost ours may be.
#[rustfmt::skip]
const SCENARIOS: [(&str, Load, Option<f64>); 13] = [
    ("HTTP/1.1 keep-alive, 64 connections, 128 B", Load::wrk(64, "/"), Some(0.8)),
    ("HTTP/1.1 keep-alive, 256 connections, 128 B", Load::wrk(256, "/"), Some(0.8)),
    ("connection per request", Load::wrk(64, "/").closing(), None),
    ("3,000 requests a second", Load::h1(30, "/").rate(100), None),
    ("64 KiB body", Load::wrk(64, "/64k"), None),
    ("64 KiB body, chunked", Load::wrk(64, "/chunked"), Some(0.7)),
    ("1 MiB body", Load::wrk(16, "/1m"), None),
    ("TCP, 64 KiB", Load::wrk(64, "/64k").raw(), Some(0.7)),
    ("TLS keep-alive", Load::h1(64, "/").tls(), Some(0.7)),
    ("TLS 64 KiB body", Load::h1(32, "/64k").tls(), None),
    ("TLS handshake per request", Load::wrk(32, "/").closing().tls(), Some(0.6)),
    ("HTTP/2 over TLS, 32 x 16 streams, 128 B", Load::h2(32, 16, "/"), Some(1.0)),
    ("HTTP/2 over TLS, 8 x 8 streams, 64 KiB", Load::h2(8, 8, "/64k"), Some(0.8)),
];

/// What this program plays when it is called by that name.
pub(crate) fn role(name: &str) -> Option<fn() -> Result<()>> {
    match name {
        upstream::ROLE => Some(upstream::serve),
        alone::ROLE => Some(alone::serve),
        _ => None,
    }
}

pub(crate) fn run() -> Result<()> {
    let host = format!("{APP}.{DOMAIN}");
    if std::env::var_os(ALONE).is_some() {
        let alone = Alone::start()?;
        return compare(&alone.proxy, &alone.upstream, &host);
    }
    let cloud = TestCloud::start_with(CloudOptions::default());
    let (upstream, own) = start_upstream(&cloud)?;
    let ours = Proxy {
        name: "mayfly",
        pid: cloud.daemon_pid(),
        plain: cloud.edge().port(),
        tls: cloud.edge_tls().port(),
        tcp: Some(SocketAddr::new(own, TCP_PORT)),
    };
    compare(&ours, &upstream, &host)
}

fn compare(ours: &Proxy, upstream: &str, host: &str) -> Result<()> {
    let peers = Peers::start(upstream, host)?;
    let proxies = [ours, &peers.haproxy, &peers.nginx];
    for proxy in proxies {
        proxy.wait_until_it_answers(host)?;
    }
    let only = std::env::var(ONLY).unwrap_or_default();
    if "idle connection".contains(&only) {
        idle::measure(&proxies, host)?;
    }
    for (name, load, aim) in SCENARIOS {
        // One that cannot be measured is said to be so, and the others are measured.
        if name.contains(&only)
            && let Err(error) = measure(name, load, aim, &proxies, host)
        {
            println!("{name}: not measured: {error:#}");
        }
    }
    Ok(())
}

fn measure(
    name: &str,
    load: Load,
    aim: Option<f64>,
    proxies: &[&Proxy; 3],
    host: &str,
) -> Result<()> {
    let mut outcomes: [Vec<Outcome>; 3] = Default::default();
    for round in 0..=ROUNDS {
        for (proxy, outcomes) in proxies.iter().zip(&mut outcomes) {
            if !load.suits(proxy) {
                continue;
            }
            let outcome = load
                .run(proxy, host, ROUND)
                .with_context(|| proxy.name.to_owned())?;
            // The first round fills pools and caches.
            if round > 0 {
                outcomes.push(outcome);
            }
        }
    }
    println!("{name}");
    let cost = |of: usize| -> Vec<f64> { outcomes[of].iter().map(Outcome::cost_us).collect() };
    let ours = cost(0);
    for (index, proxy) in proxies.iter().enumerate() {
        let costs = cost(index);
        if costs.is_empty() {
            continue;
        }
        let ratios: Vec<f64> = ours
            .iter()
            .zip(&costs)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        let figure = |pick: fn(&Outcome) -> f64| {
            let figures: Vec<f64> = outcomes[index].iter().map(pick).collect();
            median(&figures)
        };
        let beside = match (index, aim) {
            (0, _) => String::new(),
            (1, Some(aim)) => format!(", ours costs {} of it (aim {aim})", Spread::of(&ratios)),
            _ => format!(", ours costs {} of it", Spread::of(&ratios)),
        };
        println!(
            "  {:8} {:8.1} us CPU a request, {:7.0} requests/s, p50 {:.2} ms, p99 {:.2} ms{beside}",
            proxy.name,
            median(&costs),
            figure(|outcome| outcome.rate),
            figure(|outcome| outcome.p50_ms),
            figure(|outcome| outcome.p99_ms),
        );
    }
    Ok(())
}

/// A machine that runs this program as the upstream; returns where the peers reach it, and the app's own address.
fn start_upstream(cloud: &TestCloud) -> Result<(String, IpAddr)> {
    let program = std::env::current_exe()?;
    let mut image = TestImage::empty().file("/upstream", 0o755, std::fs::read(&program)?);
    for library in upstream::libraries(&program)? {
        image = image.file(&library, 0o755, std::fs::read(&library)?);
    }
    let image = image.entrypoint(&["/upstream", upstream::ROLE]);
    let archive = cloud.data_dir().join("upstream.tar");
    image.write_oci_archive(&archive, IMAGE)?;
    let bytes = std::fs::read(&archive)?;
    let bearer = format!("Bearer {}", cloud.token());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/x-tar"),
    ];
    let path = format!("/v1/images?name={IMAGE}");
    let post = mayfly_testing::Method::Post;
    let answer = mayfly_testing::send(cloud.api(), post, &path, &headers, &bytes)?;
    ensure!(answer.status < 300, "import: {}", answer.text());
    let app = json!({ "app_name": APP, "org_slug": "personal" });
    ensure!(cloud.post("/v1/apps", app).status < 300, "create the app");
    let config = json!({
        "image": IMAGE,
        "guest": { "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096 },
        "services": [{
            "protocol": "tcp", "internal_port": upstream::PORT,
            "concurrency": { "type": "requests", "soft_limit": 5000, "hard_limit": 10000 },
            "ports": [
                { "port": 80, "handlers": ["http"] },
                { "port": 443, "handlers": ["tls", "http"] },
                { "port": TCP_PORT },
            ],
        }],
    });
    let machines = format!("/v1/apps/{APP}/machines");
    let created = cloud.post(&machines, json!({ "config": config }));
    ensure!(
        created.status < 300,
        "create the machine: {}",
        created.text()
    );
    let machine = created.json();
    let id = machine["id"].as_str().context("a machine has an id")?;
    let waited = cloud.get(&format!("{machines}/{id}/wait?state=started&timeout=60"));
    ensure!(waited.status < 300, "wait: {}", waited.text());
    let address = machine["private_ip"]
        .as_str()
        .context("a machine has an address")?;
    let own = cloud.post(
        &format!("/v1/apps/{APP}/ip_assignments"),
        json!({ "type": "v4" }),
    );
    ensure!(own.status < 300, "allocate an address: {}", own.text());
    let own = own.json()["ip"]
        .as_str()
        .context("an assignment has an address")?
        .parse()?;
    Ok((format!("[{address}]:{}", upstream::PORT), own))
}

//! From a visitor's request to the answer while the machine is suspended or stopped, beside the same request to the running
//! machine itself, past the edge, and beside `crun run --detach`.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mayfly_testing::{Method, send};
use serde_json::json;

use crate::bundle::Bundle;
use crate::cloud::{APP, BUSYBOX, BenchCloud, machines};
use crate::peer::Peer;
use crate::stats::Pairs;

const ROUNDS: usize = 100;
const PORT: u16 = 8080;
/// Something small that the machine's server has.
const PAGE: &str = "/proc/version";

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let bundle = Bundle::make(Path::new(BUSYBOX))?;
    let mut crun = Peer::start()?;
    let machine = cloud.create_with(json!({
        "init": { "exec": [BUSYBOX, "httpd", "-f", "-p", PORT.to_string(), "-h", "/"] },
        "services": [{
            "protocol": "tcp",
            "internal_port": PORT,
            "ports": [{ "port": 80, "handlers": ["http"] }],
        }],
    }))?;
    cloud.wait(&machine, "started")?;
    let private_ip: Ipv6Addr = cloud.get(&format!("{}/{machine}", machines()))?["private_ip"]
        .as_str()
        .context("a machine has an address")?
        .parse()?;
    let address = SocketAddr::from((private_ip, PORT));
    visit(&cloud)?;
    let (mut thaws, mut warm) = (Pairs::default(), Pairs::default());
    let (mut starts, mut bare) = (Pairs::default(), Pairs::default());
    for round in 0..=ROUNDS {
        let direct = direct(address)?;
        let proxied = visit(&cloud)?;
        cloud.act(&machine, "suspend", "suspended")?;
        let thaw = visit(&cloud)?;
        cloud.wait(&machine, "started")?;
        cloud.act(&machine, "stop", "stopped")?;
        let start = visit(&cloud)?;
        cloud.wait(&machine, "started")?;
        let bundle = bundle.path();
        let run = [
            "crun",
            "run",
            "--detach",
            "--bundle",
            bundle,
            "mayfly-bench",
        ];
        let theirs = crun.run(&run)?;
        crun.run(&["crun", "delete", "--force", "mayfly-bench"])?;
        // The first round warms caches.
        if round > 0 {
            warm.add(proxied, direct);
            thaws.add(thaw, direct);
            starts.add(start, direct);
            bare.add(start, theirs);
        }
    }
    let direct = "the direct request";
    warm.print("request to a running machine", direct);
    thaws.print("request to a suspended machine", direct);
    thaws.print_tail("request to a suspended machine", direct);
    starts.print("request to a stopped machine", direct);
    starts.print_tail("request to a stopped machine", direct);
    bare.print("request to a stopped machine", "crun run");
    bare.print_tail("request to a stopped machine", "crun run");
    Ok(())
}

fn visit(cloud: &BenchCloud) -> Result<Duration> {
    let began = Instant::now();
    let answer = cloud.cloud.visit(APP, PAGE)?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(began.elapsed())
}

fn direct(address: SocketAddr) -> Result<Duration> {
    let began = Instant::now();
    let answer = send(address, Method::Get, PAGE, &[], &[])?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(began.elapsed())
}

//! How long until a command of a shell has run in a machine, by each way in, and what passes through `mayfly proxy`
//! beside the same connection made directly.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv6Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mayfly_testing::CliRunner;
use serde_json::json;

use crate::bundle::Bundle;
use crate::cloud::{APP, BUSYBOX, BenchCloud, machines};
use crate::peer::Peer;
use crate::stats::Pairs;

const SESSIONS: usize = 40;
const TRANSFERS: usize = 10;
const PORT: u16 = 9000;
const MEBIBYTES: u64 = 256;

pub(crate) fn run() -> Result<()> {
    let cloud = BenchCloud::start()?;
    let server = format!(
        "exec {BUSYBOX} nc -ll -p {PORT} -e {BUSYBOX} dd if=/dev/zero bs=1M count={MEBIBYTES}"
    );
    let machine =
        cloud.create_with(json!({ "init": { "exec": [BUSYBOX, "sh", "-c", server] } }))?;
    cloud.wait(&machine, "started")?;
    let private_ip: Ipv6Addr = cloud.get(&format!("{}/{machine}", machines()))?["private_ip"]
        .as_str()
        .context("a machine has an address")?
        .parse()?;
    let cli = cloud.cloud.cli();
    sessions(&cli, private_ip)?;
    transfers(&cli, private_ip)
}

fn sessions(cli: &CliRunner, machine: Ipv6Addr) -> Result<()> {
    cli.run(["ssh", "issue", "personal", "./key"]).ok();
    let key = cli.home().join("key");
    let console = ["ssh", "console", "--app", APP, "--quiet", "-C", "true"];
    let bundle = Bundle::make(Path::new(BUSYBOX))?;
    let mut crun = Peer::start()?;
    let id = "mayfly-bench-shells";
    crun.run(&["crun", "run", "--detach", "--bundle", bundle.path(), id])?;
    let (mut by_ssh, mut by_cli) = (Pairs::default(), Pairs::default());
    for round in 0..=SESSIONS {
        let theirs = crun.run(&["crun", "exec", id, BUSYBOX, "true"])?;
        let ssh = timed(&mut stock_ssh(&key, machine))?;
        let own = timed(cli.command().args(console))?;
        // The first round warms caches.
        if round > 0 {
            by_ssh.add(ssh, theirs);
            by_cli.add(own, theirs);
        }
    }
    crun.run(&["crun", "delete", "--force", id])?;
    by_ssh.print("a command by stock ssh", "crun exec");
    by_cli.print("a command by mayfly ssh console", "crun exec");
    Ok(())
}

fn stock_ssh(key: &Path, machine: Ipv6Addr) -> Command {
    let mut command = Command::new("ssh");
    command.env_remove("SSH_AUTH_SOCK").arg("-i").arg(key);
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    ] {
        command.args(["-o", option]);
    }
    command.args([&format!("root@{machine}"), "true"]);
    command
}

fn timed(command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    let ended = command.stdin(Stdio::null()).status()?;
    ensure!(ended.success(), "{command:?} ended with {ended}");
    Ok(began.elapsed())
}

/// `mayfly proxy`, ended with this.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn transfers(cli: &CliRunner, machine: Ipv6Addr) -> Result<()> {
    let mut child = cli
        .command()
        .args(["proxy", &format!("0:{PORT}"), "--app", APP])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("its output is piped")?;
    let _proxy = Proxy(child);
    let mut said = String::new();
    BufReader::new(output).read_line(&mut said)?;
    let port = said
        .split(' ')
        .find_map(|word| word.parse::<u16>().ok())
        .with_context(|| format!("mayfly proxy said {said:?}"))?;
    let mut pairs = Pairs::default();
    for round in 0..=TRANSFERS {
        let direct = fetch(TcpStream::connect((machine, PORT))?)?;
        let proxied = fetch(TcpStream::connect(("127.0.0.1", port))?)?;
        if round > 0 {
            pairs.add(proxied, direct);
        }
    }
    pairs.print(
        &format!("{MEBIBYTES} MiB by mayfly proxy"),
        "the same connection made directly",
    );
    Ok(())
}

fn fetch(mut stream: TcpStream) -> Result<Duration> {
    let began = Instant::now();
    let mut piece = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match stream.read(&mut piece)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    ensure!(bytes == MEBIBYTES << 20, "{bytes} bytes came");
    Ok(began.elapsed())
}

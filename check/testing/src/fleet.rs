use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Leftovers, binaries, wait_for};

/// Several servers of one cloud, each a network namespace with a daemon and a data directory of its own, joined by a
/// bridge in one more namespace. The first has the control plane.
///
/// Dropping it takes everything down again. After a panic the daemons' logs are printed.
#[derive(Debug)]
pub struct TestFleet {
    name: String,
    config: String,
    servers: Vec<Server>,
    token: String,
}

#[derive(Debug)]
struct Server {
    region: String,
    directory: TempDir,
    daemon: Option<Child>,
}

impl TestFleet {
    /// Starts a server for each region, one after the other, and waits until all serve. `config` is the content of each
    /// `config.toml`.
    ///
    /// # Panics
    /// If one does not start; its log is part of the message.
    #[track_caller]
    pub fn start(regions: &[&str], config: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut fleet = Self {
            name: format!("mayflytest{}-{serial}", std::process::id()),
            config: config.to_owned(),
            servers: Vec::new(),
            token: String::new(),
        };
        let switch = fleet.namespace("switch");
        run("ip", &["netns", "add", &switch]);
        run(
            "ip",
            &["-n", &switch, "link", "add", "bridge", "type", "bridge"],
        );
        run("ip", &["-n", &switch, "link", "set", "bridge", "up"]);
        for region in regions {
            fleet.add(region);
        }
        fleet
    }

    /// Adds a server, which joins the cloud unless it is the first.
    #[track_caller]
    pub fn add(&mut self, region: &str) {
        let index = self.servers.len();
        let directory = tempfile::Builder::new()
            .prefix("mayfly-fleet-")
            .tempdir()
            .expect("a temporary directory can be made");
        fs::create_dir(directory.path().join("data")).expect("an empty directory takes another");
        fs::write(directory.path().join("data/config.toml"), &self.config)
            .expect("the data directory is writable");
        self.servers.push(Server {
            region: region.to_owned(),
            directory,
            daemon: None,
        });
        let (space, switch) = (self.namespace(&index.to_string()), self.namespace("switch"));
        let port = format!("port{index}");
        let address = format!("{}/24", address(index));
        run("ip", &["netns", "add", &space]);
        run(
            "ip",
            &[
                "link", "add", "name", "wire", "netns", &space, "type", "veth", "peer", "name",
                &port, "netns", &switch,
            ],
        );
        run(
            "ip",
            &[
                "-n", &switch, "link", "set", &port, "master", "bridge", "up",
            ],
        );
        run(
            "ip",
            &["-n", &space, "address", "add", &address, "dev", "wire"],
        );
        run("ip", &["-n", &space, "link", "set", "wire", "up"]);
        run("ip", &["-n", &space, "link", "set", "lo", "up"]);
        let token = (index > 0).then(|| {
            let answer = self.json(&["hosts", "token", "--ttl", "5m", "--json"]);
            answer["token"]
                .as_str()
                .expect("a token has a text")
                .to_owned()
        });
        self.start_with(index, token.as_deref());
        if index == 0 {
            self.token = fs::read_to_string(self.data_dir(0).join("admin-token"))
                .expect("the first start leaves a token")
                .trim()
                .to_owned();
        }
    }

    /// Starts the daemon of a server that was killed, on the same data.
    #[track_caller]
    pub fn start_daemon(&mut self, server: usize) {
        self.start_with(server, None);
    }

    fn start_with(&mut self, index: usize, token: Option<&str>) {
        let server = &self.servers[index];
        assert!(server.daemon.is_none(), "the daemon runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(server.directory.path().join("mayflyd.log"))
            .expect("the log is writable");
        let mut command = self.command_on(index, &binaries().join("mayflyd").to_string_lossy());
        command
            .args(["run", "--data-dir"])
            .arg(self.data_dir(index))
            .args(["--region", &server.region])
            .args(["--api-listen", "127.0.0.1:4280"])
            .args(["--http-listen", "127.0.0.1:8080"])
            .args(["--https-listen", "127.0.0.1:8443"])
            .args(["--fleet-listen", &format!("{}:4290", address(index))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if index > 0 {
            command.args(["--join", &format!("{}:4290", address(0))]);
        }
        if let Some(token) = token {
            command.env("MAYFLY_JOIN_TOKEN", token);
        }
        let mut child = command.spawn().expect("mayflyd can be started");
        let pid = child.id();
        wait_for("mayflyd is ready", || {
            if let Ok(Some(ended)) = child.try_wait() {
                panic!("mayflyd {index} ended with {ended}\n{}", self.log(index));
            }
            let text = fs::read(self.data_dir(index).join("mayflyd.json")).ok()?;
            let status: Value = serde_json::from_slice(&text).ok()?;
            (status["pid"] == pid && status["phase"] == "ready").then_some(())
        });
        self.servers[index].daemon = Some(child);
    }

    /// `kill -9` of a server's daemon; its machines run on.
    pub fn kill_daemon(&mut self, server: usize) {
        if let Some(mut child) = self.servers[server].daemon.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Pulls a server's cable.
    pub fn cut(&self, server: usize) {
        self.set_port(server, "down");
    }

    /// Puts it back.
    pub fn mend(&self, server: usize) {
        self.set_port(server, "up");
    }

    fn set_port(&self, server: usize, state: &str) {
        let (switch, port) = (self.namespace("switch"), format!("port{server}"));
        run("ip", &["-n", &switch, "link", "set", &port, state]);
    }

    pub fn data_dir(&self, server: usize) -> PathBuf {
        self.servers[server].directory.path().join("data")
    }

    /// Runs a program on a server; what it printed, or what it complained of.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run_on(
        &self,
        server: usize,
        program: &str,
        arguments: &[&str],
    ) -> Result<String, String> {
        let mut command = self.command_on(server, program);
        let output = command.args(arguments).stdin(Stdio::null()).output();
        said(&output.expect("the program can be started"))
    }

    /// The admin's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The command line on the first server, as its admin.
    pub fn mayfly(&self, arguments: &[&str]) -> Result<String, String> {
        let program = binaries().join("mayfly");
        let output = self
            .command_on(0, &program.to_string_lossy())
            .args(arguments)
            .env("FLY_API_TOKEN", &self.token)
            .env("FLY_FLAPS_BASE_URL", "http://127.0.0.1:4280")
            .env("HOME", self.servers[0].directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("mayfly can be started");
        said(&output)
    }

    /// The command line's answer, which must be good.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> String {
        match self.mayfly(arguments) {
            Ok(text) => text,
            Err(text) => panic!("mayfly {}: {text}", arguments.join(" ")),
        }
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.must(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The body of what an app answers at the edge of a server; an error for any other status than 200.
    pub fn visit(&self, server: usize, app: &str, path: &str) -> Result<String, String> {
        let host = format!("host: {app}.mayfly.localhost");
        let url = format!("http://127.0.0.1:8080{path}");
        let output = self
            .command_on(server, "curl")
            .args(["-sS", "--fail-with-body", "-m", "15", "-H", &host, &url])
            .output()
            .expect("curl can be started");
        said(&output)
    }

    pub fn log(&self, server: usize) -> String {
        let path = self.servers[server].directory.path().join("mayflyd.log");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// A program that will run on a server.
    pub fn command_on(&self, server: usize, program: &str) -> Command {
        let space = format!("--net=/run/netns/{}", self.namespace(&server.to_string()));
        let mut command = Command::new("nsenter");
        command.args([space.as_str(), program]);
        command
    }

    fn namespace(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }
}

impl Drop for TestFleet {
    fn drop(&mut self) {
        for server in 0..self.servers.len() {
            self.kill_daemon(server);
        }
        for server in 0..self.servers.len() {
            let data_dir = self.data_dir(server);
            let swept = std::panic::catch_unwind(|| Leftovers::sweep_apart(&data_dir));
            if swept.is_err() {
                eprintln!("machines of {} could not be swept", data_dir.display());
            }
            if std::thread::panicking() {
                eprintln!("--- log of server {server}\n{}", self.log(server));
            }
        }
        let servers = (0..self.servers.len()).map(|server| server.to_string());
        for part in servers.chain(["switch".to_owned()]) {
            let space = self.namespace(&part);
            Command::new("ip")
                .args(["netns", "delete", &space])
                .stderr(Stdio::null())
                .status()
                .ok();
        }
    }
}

/// Where a server is on the bridge.
fn address(server: usize) -> String {
    format!("10.99.0.{}", server + 1)
}

fn said(output: &Output) -> Result<String, String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    if let Err(text) = said(&output) {
        panic!("{program} {}: {text}", arguments.join(" "));
    }
}

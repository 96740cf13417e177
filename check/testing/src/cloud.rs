use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Answer, CliRunner, HttpError, Leftovers, Method, binaries, postgres_url, send, wait_for,
};

/// How a cloud of a test differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct CloudOptions {
    /// Content of `<data dir>/config.toml`.
    pub config: Option<String>,
    /// More arguments of `mayflyd run`.
    pub arguments: Vec<String>,
    /// The control store is a fresh PostgreSQL database instead of a file.
    pub on_postgres: bool,
    /// The listening sockets are held by the test and handed to every daemon it starts (sd_listen_fds(3)).
    pub hold_sockets: bool,
}

/// A real cloud: `mayflyd` on free ports with a data directory of its own.
///
/// Dropping it kills the daemon and every machine and takes away what the kernel holds of them. After a panic the
/// daemon's log is printed.
#[derive(Debug)]
pub struct TestCloud {
    directory: TempDir,
    options: CloudOptions,
    daemon: Option<Child>,
    api: SocketAddr,
    edge: SocketAddr,
    edge_tls: SocketAddr,
    /// For http and https.
    held: Vec<TcpListener>,
    token: String,
}

impl TestCloud {
    /// Starts a cloud and waits until it serves.
    ///
    /// # Panics
    /// If it does not start; its log is part of the message.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(CloudOptions::default())
    }

    #[track_caller]
    pub fn start_with(options: CloudOptions) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("mayfly-test-")
            .tempdir()
            .expect("a temporary directory can be made");
        fs::create_dir(directory.path().join("home")).expect("an empty directory takes a home");
        let mut cloud = Self {
            directory,
            options,
            daemon: None,
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            edge: SocketAddr::from(([127, 0, 0, 1], 0)),
            edge_tls: SocketAddr::from(([127, 0, 0, 1], 0)),
            held: Vec::new(),
            token: String::new(),
        };
        fs::create_dir(cloud.data_dir()).expect("an empty directory takes another");
        let mut config = cloud.options.config.clone().unwrap_or_default();
        if cloud.options.on_postgres {
            let url = cloud.data_dir().join("store-url");
            fs::write(&url, postgres_url()).expect("the data directory is writable");
            config.push_str(&format!("\n[store]\nurl_file = {url:?}\n"));
        }
        fs::write(cloud.data_dir().join("config.toml"), config)
            .expect("the data directory is writable");
        cloud.start_daemon();
        cloud
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn api(&self) -> SocketAddr {
        self.api
    }

    pub fn edge(&self) -> SocketAddr {
        self.edge
    }

    /// Where the edge speaks TLS.
    pub fn edge_tls(&self) -> SocketAddr {
        self.edge_tls
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Process id of the running daemon.
    ///
    /// # Panics
    /// If none runs.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Everything the daemon has logged, over all its starts.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Starts the daemon on the same data directory and ports and waits until it serves.
    ///
    /// # Panics
    /// If one runs already or the new one does not come up.
    #[track_caller]
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log is writable");
        let mut command = self.daemon_command();
        let mut child = command
            .arg("run")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--api-listen", &self.api.to_string()])
            .args(["--http-listen", &self.edge.to_string()])
            .args(["--https-listen", &self.edge_tls.to_string()])
            .args(&self.options.arguments)
            .env("RUST_BACKTRACE", "1")
            .env("HOME", self.home())
            .stderr(log)
            .spawn()
            .expect("mayflyd can be started");
        let pid = child.id();
        let status = wait_for("mayflyd is ready", || {
            if let Ok(Some(ended)) = child.try_wait() {
                panic!("mayflyd ended with {ended}\n{}", self.daemon_log());
            }
            let text = fs::read(self.data_dir().join("mayflyd.json")).ok()?;
            let status: Value = serde_json::from_slice(&text).ok()?;
            (status["pid"] == pid && status["phase"] == "ready").then_some(status)
        });
        self.daemon = Some(child);
        self.api = address_in(&status["api_url"]);
        self.edge = address_in(&status["app_url"]);
        self.edge_tls = address_in(&status["app_tls_url"]);
        self.token = fs::read_to_string(self.data_dir().join("admin-token"))
            .expect("the first start leaves a token")
            .trim()
            .to_owned();
    }

    /// mayflyd, with the sockets we hold as its descriptors 3 and 4 if it shall have them.
    fn daemon_command(&mut self) -> Command {
        let program = binaries().join("mayflyd");
        if !self.options.hold_sockets {
            let mut command = Command::new(program);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            return command;
        }
        if self.held.is_empty() {
            for _ in 0..2 {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
                self.held.push(listener);
            }
            let address = |index: usize| self.held[index].local_addr().expect("it is bound");
            (self.edge, self.edge_tls) = (address(0), address(1));
        }
        let pass = |listener: &TcpListener| {
            let copy = listener
                .try_clone()
                .expect("a socket has room for a second handle");
            Stdio::from(OwnedFd::from(copy))
        };
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(r#"exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_FDS=2 LISTEN_PID=$$; exec "$0" "$@""#)
            .arg(program)
            .stdin(pass(&self.held[0]))
            .stdout(pass(&self.held[1]));
        command
    }

    /// `kill -9` of the daemon; machines run on.
    pub fn kill_daemon(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Asks the daemon to end and waits for it; machines run on.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn stop_daemon(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().expect("the daemon runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a pid"), Signal::TERM).expect("our own child");
        wait_for("mayflyd ends when told", || child.try_wait().ok().flatten())
    }

    /// Kills the daemon and starts it again on the same data.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.kill_daemon();
        self.start_daemon();
    }

    /// What later starts of the daemon are told instead.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.options.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    }

    /// A request to the API with the admin's token; a null `body` sends none.
    ///
    /// # Panics
    /// If no answer comes.
    #[track_caller]
    pub fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.try_call(method, path, body)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`TestCloud::call`], for a daemon that may be dead.
    pub fn try_call(&self, method: Method, path: &str, body: &Value) -> Result<Answer, HttpError> {
        self.try_call_with(method, path, &[], body)
    }

    pub fn try_call_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, HttpError> {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        all.extend_from_slice(headers);
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        send(self.api, method, path, &all, &body)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call(Method::Get, path, &Value::Null)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::Post, path, &body)
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::Put, path, &body)
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.call(Method::Delete, path, &Value::Null)
    }

    /// A request to an app by its host name, as a visitor sends it.
    pub fn visit(&self, app: &str, path: &str) -> Result<Answer, HttpError> {
        let host = format!("{app}.mayfly.localhost");
        send(self.edge, Method::Get, path, &[("host", &host)], &[])
    }

    /// Like [`TestCloud::visit`], at the edge of the region named at this place of `--regions`.
    pub fn visit_region(&self, index: u8, app: &str, path: &str) -> Result<Answer, HttpError> {
        let host = format!("{app}.mayfly.localhost");
        let edge = SocketAddr::from(([127, 0, 0, 1 + index], self.edge.port()));
        send(edge, Method::Get, path, &[("host", &host)], &[])
    }

    /// The command line of a user of this cloud, logged in as its admin.
    ///
    /// # Panics
    /// If the home directory is not writable.
    pub fn cli(&self) -> CliRunner {
        let config = self.home().join(".mayfly");
        fs::create_dir_all(&config).expect("the home is writable");
        let text = format!(
            "access_token: \"{}\"\napi_base_url: http://{api}\nflaps_base_url: http://{api}\n",
            self.token,
            api = self.api
        );
        fs::write(config.join("config.yml"), text).expect("the home is writable");
        CliRunner::at_home(self.home())
    }

    /// Ids of all machines this data directory has a place for.
    pub fn machine_ids(&self) -> Vec<String> {
        fs::read_dir(self.data_dir().join("machines"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("mayflyd.log")
    }
}

impl Drop for TestCloud {
    fn drop(&mut self) {
        self.kill_daemon();
        let data_dir = self.data_dir();
        let swept = std::panic::catch_unwind(|| Leftovers::sweep_cloud(&data_dir));
        if std::thread::panicking() {
            eprintln!("--- log of mayflyd\n{}", self.daemon_log());
        } else if swept.is_err() {
            eprintln!(
                "machines of {} could not be swept",
                self.data_dir().display()
            );
        }
    }
}

/// The address in a URL such as `http://{app}.mayfly.localhost:8080`; our own listeners are on loopback.
fn address_in(url: &Value) -> SocketAddr {
    let url = url.as_str().expect("the status file holds URLs");
    let port = url
        .rsplit_once(':')
        .and_then(|(_, port)| port.trim_end_matches('/').parse().ok())
        .unwrap_or_else(|| panic!("{url} names no port"));
    SocketAddr::from(([127, 0, 0, 1], port))
}

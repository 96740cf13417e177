use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use mayfly_testing::{
    Answer, CloudOptions, HttpError, Method, TestCloud, TestImage, send, wait_for, wait_until,
};
use serde_json::{Value, json};

use crate::{echo_archive, hello_archive, netprobe, tool};

/// A running cloud with the app `stage` and the image `hello`.
pub struct Stage {
    pub cloud: TestCloud,
    pub app: String,
}

/// What a program inside a machine did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

impl Stage {
    #[track_caller]
    pub fn set() -> Self {
        Self::set_with(CloudOptions::default())
    }

    #[track_caller]
    pub fn set_with(options: CloudOptions) -> Self {
        let stage = Self {
            cloud: TestCloud::start_with(options),
            app: "stage".to_owned(),
        };
        stage.import_hello();
        stage.create_app("stage", "personal");
        stage
    }

    /// Gives the archive of `examples/hello` to the cloud under the name `hello:latest`.
    #[track_caller]
    pub fn import_hello(&self) {
        self.import(hello_archive(), "hello:latest");
    }

    /// Gives the same with `/bin/echo-server` to the cloud under the name `echo:latest`.
    #[track_caller]
    pub fn import_echo(&self) {
        self.import(echo_archive(), "echo:latest");
    }

    /// Gives the image of builder machines to the cloud, which would otherwise make it.
    ///
    /// # Panics
    /// If `./dev setup` did not make it, or for another version of its recipe.
    #[track_caller]
    pub fn import_builder(&self) {
        self.import_all(&tool("builder.tar"));
    }

    /// Gives an archive to the cloud, with the names that its images have in it.
    #[track_caller]
    pub fn import_all(&self, archive: &Path) {
        self.upload(archive, "");
    }

    /// Gives an archive to the cloud under a name.
    #[track_caller]
    pub fn import(&self, archive: &Path, name: &str) {
        self.upload(archive, &format!("?name={name}"));
    }

    #[track_caller]
    fn upload(&self, archive: &Path, query: &str) {
        let archive = fs::read(archive).expect("the archive was built");
        let bearer = format!("Bearer {}", self.cloud.token());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/x-tar"),
        ];
        send(
            self.cloud.api(),
            Method::Post,
            &format!("/v1/images{query}"),
            &headers,
            &archive,
        )
        .unwrap_or_else(|error| panic!("{error}"))
        .ok();
    }

    /// An image `probe:latest` with all of busybox and `netprobe` of `peers/` in `/bin`.
    #[track_caller]
    pub fn import_probe(&self) {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let archive = folder.path().join("probe.tar");
        write_probe_archive(&archive);
        self.import(&archive, "probe:latest");
    }

    #[track_caller]
    pub fn create_app(&self, name: &str, org: &str) {
        self.cloud
            .post("/v1/apps", json!({"app_name": name, "org_slug": org}))
            .expect(201);
    }

    /// The path of the app's machines, or of what lies below.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/apps/{}/machines{rest}", self.app)
    }

    /// A configuration that sleeps until it is told to end.
    pub fn sleeper() -> Value {
        json!({"image": "hello:latest", "init": {"exec": ["/bin/sleep", "inf"]}})
    }

    /// A configuration that runs the echo server with an HTTP service on port 80; `more` is laid over the service.
    pub fn echo(more: Value) -> Value {
        let mut service = json!({
            "protocol": "tcp",
            "internal_port": 8080,
            "ports": [{"port": 80, "handlers": ["http"]}],
        });
        if let (Some(service), Value::Object(more)) = (service.as_object_mut(), more) {
            service.extend(more);
        }
        json!({
            "image": "echo:latest",
            "init": {"exec": ["/bin/echo-server"]},
            "services": [service],
        })
    }

    /// A GET for an app at an edge.
    pub fn ask(
        edge: SocketAddr,
        app: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, HttpError> {
        let host = format!("{app}.mayfly.localhost");
        let mut all = vec![("host", host.as_str())];
        all.extend_from_slice(fields);
        send(edge, Method::Get, path, &all, b"")
    }

    /// A configuration that runs a shell script.
    pub fn script(text: &str) -> Value {
        json!({
            "image": "hello:latest",
            "init": {"exec": ["/bin/sh", "-c", text]},
            "restart": {"policy": "no"},
        })
    }

    /// Creates a machine and returns what the API said of it.
    #[track_caller]
    pub fn create(&self, config: Value) -> Value {
        self.cloud
            .post(&self.path(""), json!({"config": config}))
            .expect(200)
    }

    /// Creates a machine, waits until it runs, returns its id.
    #[track_caller]
    pub fn start(&self, config: Value) -> String {
        let machine = self.create(config);
        let id = id_of(&machine);
        self.wait(&id, "started");
        id
    }

    /// Creates a machine that ends by itself, waits for its end, returns its id.
    #[track_caller]
    pub fn run_to_end(&self, config: Value) -> String {
        let id = id_of(&self.create(config));
        wait_until("the machine has ended", || self.exits(&id) > 0);
        self.wait(&id, "stopped");
        id
    }

    #[track_caller]
    pub fn get(&self, id: &str) -> Value {
        self.cloud.get(&self.path(&format!("/{id}"))).expect(200)
    }

    #[track_caller]
    pub fn state(&self, id: &str) -> String {
        let machine = self.get(id);
        machine["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits by the API until the machine is in `state`.
    #[track_caller]
    pub fn wait(&self, id: &str, state: &str) {
        let path = self.path(&format!("/{id}/wait?state={state}&timeout=60"));
        let answer = self.cloud.get(&path);
        assert_eq!(
            answer.status,
            200,
            "{} answered {}: {}; the machine is {}",
            answer.request,
            answer.status,
            answer.text(),
            self.get(id)
        );
    }

    /// A POST below a machine that must succeed.
    #[track_caller]
    pub fn act(&self, id: &str, action: &str, body: Value) -> Value {
        self.try_act(id, action, body).ok()
    }

    #[track_caller]
    pub fn try_act(&self, id: &str, action: &str, body: Value) -> Answer {
        self.cloud
            .post(&self.path(&format!("/{id}/{action}")), body)
    }

    /// Runs a shell line inside a machine.
    #[track_caller]
    pub fn exec(&self, id: &str, line: &str) -> Exec {
        let body = json!({"command": ["/bin/sh", "-c", line], "timeout": 30});
        let answer = self.act(id, "exec", body);
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Exec {
            code: answer["exit_code"].as_i64().unwrap_or(0),
            stdout: text("stdout"),
            stderr: text("stderr"),
        }
    }

    /// Standard output of a shell line inside a machine, without the last line end.
    ///
    /// # Panics
    /// If the line fails.
    #[track_caller]
    pub fn shell(&self, id: &str, line: &str) -> String {
        let exec = self.exec(id, line);
        assert_eq!(exec.code, 0, "`{line}` failed: {exec:?}");
        exec.stdout.trim_end_matches('\n').to_owned()
    }

    /// How often the machine has ended so far.
    #[track_caller]
    pub fn exits(&self, id: &str) -> usize {
        self.events(id, "exit").len()
    }

    /// The events of a type in the machine's history, newest first.
    #[track_caller]
    pub fn events(&self, id: &str, kind: &str) -> Vec<Value> {
        let machine = self.get(id);
        machine["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["type"] == kind)
            .cloned()
            .collect()
    }

    /// The newest exit of a machine, as `request.exit_event` tells it.
    #[track_caller]
    pub fn last_exit(&self, id: &str) -> Value {
        let exits = self.events(id, "exit");
        let newest = exits.first().expect("the machine has ended at least once");
        newest["request"]["exit_event"].clone()
    }

    /// All lines a machine has written so far, oldest first.
    #[track_caller]
    pub fn log_lines(&self, id: &str) -> Vec<String> {
        /// The most the API gives at once; a shorter page is the last, also of a machine that goes on writing.
        const PAGE: usize = 1000;
        let mut lines = Vec::new();
        let mut token = String::new();
        loop {
            let page = self
                .cloud
                .get(&format!(
                    "/api/v1/apps/{}/logs?instance={id}&next_token={token}&limit={PAGE}&wait=0",
                    self.app
                ))
                .expect(200);
            let entries = page["data"].as_array().cloned().unwrap_or_default();
            let all = entries.len() < PAGE;
            lines.extend(entries.iter().map(|entry| {
                let message = &entry["attributes"]["message"];
                message.as_str().unwrap_or_default().to_owned()
            }));
            if all {
                return lines;
            }
            let next = page["meta"]["next_token"].as_str().unwrap_or_default();
            token = next.to_owned();
        }
    }

    /// Waits until the machine has written a line that begins with `prefix`, and returns the line.
    #[track_caller]
    pub fn line_with(&self, id: &str, prefix: &str) -> String {
        wait_for(&format!("a log line `{prefix}…`"), || {
            self.log_lines(id)
                .into_iter()
                .find(|line| line.starts_with(prefix))
        })
    }

    /// Process id on this server of the program that a machine runs: a process whose command line holds `mark`.
    #[track_caller]
    pub fn host_pid(&self, mark: &str) -> i32 {
        wait_for(&format!("a process with `{mark}`"), || {
            host_pids(mark).first().copied()
        })
    }

    #[track_caller]
    pub fn destroy(&self, id: &str) {
        self.cloud
            .delete(&self.path(&format!("/{id}?force=true")))
            .expect(200);
        self.wait(id, "destroyed");
    }
}

/// Writes the archive of the image `probe:latest`: all of busybox and `netprobe` of `peers/` in `/bin`.
#[track_caller]
pub fn write_probe_archive(archive: &Path) {
    let program = fs::read(netprobe()).expect("netprobe was built");
    TestImage::busybox()
        .file("/bin/netprobe", 0o755, program)
        .write_docker_archive(archive, "probe:latest")
        .expect("the archive can be written");
}

/// The id in a machine's JSON.
#[track_caller]
pub(crate) fn id_of(machine: &Value) -> String {
    machine["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id in {machine}"))
        .to_owned()
}

fn host_pids(mark: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let own = u32::try_from(*pid) == Ok(std::process::id());
            !own && String::from_utf8_lossy(&command).contains(mark)
        })
        .collect()
}

/// Whether a process of this server lives (a zombie does not).
pub fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()))
        .is_some_and(|rest| !rest.starts_with('Z'))
}

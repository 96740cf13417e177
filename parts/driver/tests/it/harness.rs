//! A host for one test: a data directory, a driver over it, and busybox as the only image.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mayfly_driver::{
    Body, ContainerConfig, ContainerDriver, Driver, DriverError, Launch, RootSource,
};
use mayfly_guest::{
    ContainerLaunch, ExitRecord, GuestRecord, LaunchSpec, ProcessLaunch, RestartRule, RootLaunch,
};
use mayfly_host_api::{ExecExit, ExecOutput, ExecRequest};
use mayfly_machine::{GuestSize, RootfsSpec};
use mayfly_mesh::private_ip;
use mayfly_runtime::SystemClock;
use mayfly_types::{Digest, HostId, LaunchId, NetworkId};

/// Longer than anything here takes, also on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestHost {
    pub(crate) driver: ContainerDriver,
    pub(crate) data_dir: PathBuf,
    layer: PathBuf,
    host_id: HostId,
    dismantled: bool,
}

struct OneImage(PathBuf);

impl RootSource for OneImage {
    fn layers(&self, _: Digest) -> Result<Vec<PathBuf>, Box<dyn Error + Send + Sync>> {
        Ok(vec![self.0.clone()])
    }
}

fn unique() -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    std::process::id() * 64 + MADE.fetch_add(1, Ordering::Relaxed) % 64
}

impl TestHost {
    pub(crate) async fn new() -> TestHost {
        let root = tempfile::Builder::new()
            .prefix("mayfly-driver-")
            .tempdir()
            .unwrap()
            .keep();
        let layer = root.join("layer");
        for directory in ["bin", "etc", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(layer.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines() {
            let _ = std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet));
        }
        fs::write(layer.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        let data_dir = root.join("data");
        fs::create_dir(&data_dir).unwrap();
        TestHost {
            driver: start(&data_dir, &layer).await,
            data_dir,
            layer,
            host_id: format!("{:08x}", unique()).parse().unwrap(),
            dismantled: false,
        }
    }

    /// What a daemon does that was killed and comes back.
    pub(crate) async fn restart(&mut self) {
        self.driver = start(&self.data_dir, &self.layer).await;
    }

    pub(crate) fn body(&self, number: u8) -> Body {
        let machine = format!("{:08x}{number:06x}", unique());
        Body {
            machine_id: machine.parse().unwrap(),
            network: NetworkId(1),
            private_ip: private_ip(NetworkId(1), self.host_id, number.into()),
            ipv4: self.driver.ipv4_pool().nth(number.into()).unwrap(),
            size: GuestSize::default(),
            swap_mib: 0,
            rootfs: RootfsSpec::default(),
        }
    }

    pub(crate) async fn run(&self, body: &Body, script: &str) -> GuestRecord {
        self.try_run(body, script).await.unwrap()
    }

    pub(crate) async fn try_run(
        &self,
        body: &Body,
        script: &str,
    ) -> Result<GuestRecord, DriverError> {
        self.driver.provision(body).await.unwrap();
        self.driver.launch(body, &launch(body, script)).await
    }

    /// Runs a program to its end inside a machine: exit code and what it printed on both streams.
    pub(crate) async fn exec(&self, body: &Body, script: &str) -> (i32, String) {
        let request = ExecRequest {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            ..ExecRequest::default()
        };
        let mut session = self.driver.exec(body.machine_id, request).await.unwrap();
        let mut printed = String::new();
        loop {
            match within("exec goes on", session.output.recv()).await.unwrap() {
                ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => {
                    printed.push_str(&String::from_utf8_lossy(&bytes));
                }
                ExecOutput::Exit(ExecExit::Exited { code }) => return (code, printed),
                ExecOutput::Exit(other) => panic!("{script}: {other:?} after {printed}"),
            }
        }
    }

    pub(crate) async fn exited(&self, body: &Body, guest: &GuestRecord) -> ExitRecord {
        let exit = self.driver.exited(body.machine_id, guest.launch_id);
        within("the guest ends", exit).await.unwrap()
    }

    /// Everything of this host that the kernel or the machines' directories still hold.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let note = fs::read_to_string(self.data_dir.join("network.json")).unwrap_or_default();
        let tag = note
            .split("\"tag\": \"")
            .nth(1)
            .map_or("none", |rest| &rest[..4])
            .to_owned();
        let prefix = format!("mf{tag}");
        let everywhere = "ip -o link; cat /proc/mounts; losetup -a; ls -d /run/mayfly/*/*
            find /sys/fs/cgroup -type d -path '*/mayfly/*/*'";
        let ours = [
            &*prefix,
            &format!("/mayfly/{tag}/"),
            self.data_dir.to_str().unwrap(),
        ];
        let kernel = shell(everywhere);
        let admitted = shell(&format!("nft list table inet mayfly_{tag} | grep -v '[*]'"));
        let files = fs::read_dir(self.data_dir.join("machines")).unwrap();
        kernel
            .lines()
            .filter(|line| ours.iter().any(|mark| line.contains(mark)))
            .chain(admitted.lines().filter(|line| line.contains(&prefix)))
            .map(str::to_owned)
            .chain(files.map(|entry| entry.unwrap().path().display().to_string()))
            .collect()
    }

    pub(crate) async fn finish(mut self) {
        self.dismantled = true;
        self.driver.clone().dismantle().await.unwrap();
        let trash = self.data_dir.join("trash");
        wait_until("what was removed is deleted", || {
            fs::read_dir(&trash).unwrap().count() == 0
        })
        .await;
        fs::remove_dir_all(self.data_dir.parent().unwrap()).unwrap();
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if self.dismantled {
            return;
        }
        // The test has failed; what it made must go all the same.
        let (driver, root) = (
            self.driver.clone(),
            self.data_dir.parent().unwrap().to_owned(),
        );
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let _ = runtime.unwrap().block_on(driver.dismantle());
            let _ = fs::remove_dir_all(root);
        });
        let _ = cleaner.join();
    }
}

async fn start(data_dir: &Path, layer: &Path) -> ContainerDriver {
    let config = ContainerConfig {
        more_hosts: Vec::new(),
        data_dir: data_dir.to_owned(),
        images: Arc::new(OneImage(layer.to_owned())),
        clock: Arc::new(SystemClock),
    };
    ContainerDriver::start(config).await.unwrap()
}

/// A launch of a shell script, under an id of its own.
pub(crate) fn launch(body: &Body, script: &str) -> Launch {
    let launch_id: LaunchId = format!("{:012x}", unique()).parse().unwrap();
    let process = ProcessLaunch {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        cwd: "/".to_owned(),
        user: "root".to_owned(),
        tty: false,
    };
    let container = ContainerLaunch {
        name: "main".to_owned(),
        root: RootLaunch {
            lower: Vec::new(),
            upper: PathBuf::new(),
            work: PathBuf::new(),
            disk_image: None,
        },
        processes: vec![process],
        files: Vec::new(),
        mounts: Vec::new(),
        restart: RestartRule::Never,
        stop_signal: 2,
        stop_patience_ms: 5000,
        depends_on: Vec::new(),
        healthchecks: Vec::new(),
    };
    Launch {
        launch_id,
        spec: LaunchSpec {
            version: 1,
            machine_id: body.machine_id,
            launch_id,
            hostname: body.machine_id.to_string(),
            log_dir: PathBuf::new(),
            netns: None,
            cgroups: Vec::new(),
            containers: vec![container],
            etc_hosts: "127.0.0.1 localhost\n".to_owned(),
            etc_resolv_conf: String::new(),
            stop_signal: 2,
            sandbox: None,
            volumes: Vec::new(),
        },
        images: BTreeMap::from([("main".to_owned(), image())]),
        keep_rootfs: false,
    }
}

fn image() -> Digest {
    format!("sha256:{}", "0".repeat(64)).parse().unwrap()
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("in time: {what}"),
    }
}

pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

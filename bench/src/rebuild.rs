//! A Dockerfile app built again with nothing changed, beside `podman build` of the same directory on this machine.
//!
//! Ours sends the context to a builder machine that is awake and looks every step up there; podman reads it from the disk.
//! Neither runs a step. The second pair pushes as well, both to the cloud's registry, which has all layers already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mayfly_testing::TestCloud;
use serde_json::json;
use tempfile::TempDir;

use crate::cloud::BUSYBOX;
use crate::stats::Pairs;

const APP: &str = "bench";
const ROUNDS: usize = 9;
const DIRECTORIES: usize = 40;
const FILES_PER_DIRECTORY: usize = 25;
const FILE_BYTES: usize = 8 << 10;
const DOCKERFILE: &str = "FROM scratch\n\
    COPY busybox /bin/busybox\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    RUN mkdir /made; for number in $(seq 100); do echo $number >/made/$number; done\n\
    WORKDIR /app\n\
    COPY . .\n\
    RUN find . -type f | wc -l >/count\n\
    CMD [\"sleep\", \"1000000\"]\n";

pub(crate) fn run() -> Result<()> {
    let cloud = TestCloud::start();
    let app = json!({"app_name": APP, "org_slug": "personal"});
    ensure!(cloud.post("/v1/apps", app).status == 201, "create the app");
    let sources = TempDir::with_prefix("mayfly-bench-sources-")?;
    let files = write_sources(sources.path())?;
    let cli = cloud.cli();
    let ours = |more: &[&str]| {
        let mut command = cli.command();
        command.arg("deploy").arg(sources.path());
        timed(command.arg("--build-only").args(more))
    };
    let podman = Podman::new(&cloud, sources.path())?;
    let (mut built, mut pushed) = (Pairs::default(), Pairs::default());
    for round in 0..=ROUNDS {
        let (build, build_there) = (ours(&[])?, podman.build()?);
        let push = ours(&["--push"])?;
        let push_there = podman.build()? + podman.push(round)?;
        // The first round builds.
        if round > 0 {
            built.add(build, build_there);
            pushed.add(push, push_there);
        }
    }
    println!("{files} files, 8 steps, nothing changed:");
    built.print("mayfly deploy --build-only", "podman build");
    pushed.print("with --push", "with podman push");
    Ok(())
}

/// How many files there are.
fn write_sources(directory: &Path) -> Result<usize> {
    fs::copy(BUSYBOX, directory.join("busybox"))?;
    fs::write(directory.join("Dockerfile"), DOCKERFILE)?;
    fs::write(directory.join("fly.toml"), format!("app = \"{APP}\"\n"))?;
    for number in 0..DIRECTORIES {
        let part = directory.join(format!("part{number}"));
        fs::create_dir(&part)?;
        for file in 0..FILES_PER_DIRECTORY {
            let text = format!("{number} {file}\n");
            let text = text.repeat(FILE_BYTES / text.len());
            fs::write(part.join(format!("file{file}")), text)?;
        }
    }
    Ok(DIRECTORIES * FILES_PER_DIRECTORY + 3)
}

/// Runs a program that must succeed; how long it took.
fn timed(command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(took)
}

/// With a store of its own, and a login to the cloud's registry.
struct Podman {
    directory: TempDir,
    sources: PathBuf,
    registry: String,
    login: String,
}

impl Podman {
    fn new(cloud: &TestCloud, sources: &Path) -> Result<Podman> {
        Ok(Podman {
            directory: TempDir::with_prefix("mayfly-bench-podman-")?,
            sources: sources.to_owned(),
            registry: cloud.api().to_string(),
            login: format!("x:{}", cloud.token()),
        })
    }

    fn build(&self) -> Result<Duration> {
        timed(
            self.command()
                .args(["build", "--layers", "--format", "docker", "--tag", APP])
                .arg(&self.sources),
        )
    }

    fn push(&self, round: usize) -> Result<Duration> {
        let target = format!("docker://{}/{APP}:podman{round}", self.registry);
        timed(
            self.command()
                .args(["push", "--quiet", "--tls-verify=false", "--creds"])
                .args([&self.login, APP, &target]),
        )
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        let part = |name: &str| self.directory.path().join(name);
        command
            .arg("--root")
            .arg(part("root"))
            .arg("--runroot")
            .arg(part("run"))
            .args(["--events-backend", "file"])
            // As steps run in a builder machine.
            .env("BUILDAH_ISOLATION", "chroot");
        command
    }
}

//! A build with Docker or Podman of this computer.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use mayfly_wire::StartBuild;

use super::Built;
use super::sources::Sources;
use crate::context::Context;
use crate::failure::Failure;

/// The name of this cloud's registry that its machines know it by, wherever the API is.
const REGISTRY: &str = "registry.fly.io";

/// The variable by which docker is told what to build with.
const BUILDKIT: &str = "DOCKER_BUILDKIT";

/// A program that builds Dockerfiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Engine {
    program: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Docker,
    Podman,
}

impl Engine {
    /// The first that works.
    pub(super) fn find() -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut problems = Vec::new();
        for (name, kind) in [("docker", Kind::Docker), ("podman", Kind::Podman)] {
            let found = std::env::split_paths(&path).map(|place| place.join(name));
            if let Some(program) = found.into_iter().find(|program| program.is_file()) {
                match problem_of(&program) {
                    None => return Ok(Self { program, kind }),
                    Some(problem) => problems.push(format!("{name} does not work: {problem}")),
                }
            }
        }
        let (problem, remedy) = match problems.is_empty() {
            true => (
                "there is neither docker nor podman on this computer".to_owned(),
                "Install one of them",
            ),
            false => (problems.join("; "), "Start one of them"),
        };
        Err(Failure::new(format!("--local-only: {problem}"))
            .remedy(format!(
                "{remedy}, or leave --local-only away: the cloud builds, too."
            ))
            .into())
    }

    /// Whether it has BuildKit and uses it only when told: secrets and ignore files of a Dockerfile need it.
    fn wants_buildkit(&self) -> bool {
        if self.kind != Kind::Docker || std::env::var_os(BUILDKIT).is_some() {
            return false;
        }
        let output = Command::new(&self.program)
            .args(["version", "--format", "{{.Client.Version}}"])
            .stdin(Stdio::null())
            .output();
        output.is_ok_and(|output| is_before_buildkit(&String::from_utf8_lossy(&output.stdout)))
    }

    fn run(&self, arguments: &[OsString], attempt: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        if self.wants_buildkit() {
            command.env(BUILDKIT, "1");
        }
        let status = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .status()
            .with_context(|| format!("run {}", self.program.display()))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::new(format!("{attempt} failed with code {code}")).into()),
            None => Err(Failure::new(format!("{attempt} was ended")).into()),
        }
    }
}

/// From version 23 on docker builds with BuildKit by itself, by a plugin that not every distribution brings.
fn is_before_buildkit(version: &str) -> bool {
    let major = version.trim().split('.').next().map(str::parse::<u32>);
    matches!(major, Some(Ok(18..23)))
}

/// Why an engine answers no questions, if it does not; the last line of what it complains of says it.
fn problem_of(program: &Path) -> Option<String> {
    let output = Command::new(program)
        .arg("info")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().rfind(|line| !line.trim().is_empty());
            Some(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Builds and, if the order has a tag, pushes.
pub(super) fn build(
    context: &Context,
    app: &str,
    engine: &Engine,
    sources: &Sources,
    order: &StartBuild,
) -> anyhow::Result<Built> {
    let beside = sources.directory.join(".dockerignore");
    let ignorefile = sources.ignorefile.as_ref().filter(|path| **path != beside);
    let is_own = |path: &PathBuf| {
        let mut own = sources.dockerfile.clone().into_os_string();
        own.push(".dockerignore");
        path.as_os_str() == own
    };
    let scratch = Scratch::new()?;
    let (api, token) = context.registry_login()?;
    let tag = order.tag.clone().unwrap_or_else(|| "latest".to_owned());
    let name = format!("{api}/{app}:{tag}");
    let mut arguments: Vec<OsString> = vec!["build".into(), "--tag".into(), name.clone().into()];
    let mut option = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
    option("--file", sources.dockerfile.clone().into());
    for (flag, values) in [("--build-arg", &order.args), ("--label", &order.labels)] {
        for (name, value) in values {
            option(flag, format!("{name}={value}").into());
        }
    }
    if let Some(target) = &order.target {
        option("--target", target.into());
    }
    for (number, (name, secret)) in order.secrets.iter().enumerate() {
        let path = scratch.file(&format!("secret-{number}"), secret.reveal())?;
        option(
            "--secret",
            format!("id={name},src={}", path.display()).into(),
        );
    }
    match (ignorefile, engine.kind) {
        (Some(path), Kind::Podman) => option("--ignorefile", path.into()),
        (Some(path), Kind::Docker) if !is_own(path) => {
            return Err(
                Failure::new("docker takes no other ignore file than its own")
                    .remedy(format!(
                        "Call {} {}.dockerignore, or leave --local-only away.",
                        path.display(),
                        sources.dockerfile.display()
                    ))
                    .into(),
            );
        }
        _ => {}
    }
    if engine.kind == Kind::Podman {
        // As docker writes images: others have no health checks and shells.
        option("--format", "docker".into());
    }
    if order.no_cache {
        arguments.push("--no-cache".into());
    }
    arguments.push(sources.directory.clone().into());
    engine.run(&arguments, "the build")?;
    if order.tag.is_none() {
        return Ok(Built::default());
    }
    let digest = push(engine, &scratch, &api, &token, &name)?;
    Ok(Built {
        image: Some(format!("{REGISTRY}/{app}:{tag}@{digest}")),
        ..Built::default()
    })
}

/// Pushes and returns the digest of what was pushed.
fn push(
    engine: &Engine,
    scratch: &Scratch,
    api: &str,
    token: &str,
    name: &str,
) -> anyhow::Result<String> {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("x:{token}"));
    let auth = serde_json::json!({ "auths": { api: { "auth": login } } });
    let auth = scratch.file("config.json", &auth.to_string())?;
    let mut command = Command::new(&engine.program);
    match engine.kind {
        Kind::Docker => command.arg("--config").arg(scratch.path()).arg("push"),
        Kind::Podman => command.arg("push").arg("--authfile").arg(auth),
    };
    if engine.kind == Kind::Podman {
        let digest = scratch.path().join("digest");
        command.arg("--digestfile").arg(&digest);
        // As docker does it by itself for an address of this computer.
        if api.starts_with("127.") || api.starts_with("localhost") {
            command.arg("--tls-verify=false");
        }
    }
    let output = command
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", engine.program.display()))?;
    if !output.status.success() {
        return Err(Failure::new(format!("pushing {name} failed")).into());
    }
    let text = match engine.kind {
        Kind::Docker => String::from_utf8_lossy(&output.stdout).into_owned(),
        Kind::Podman => std::fs::read_to_string(scratch.path().join("digest"))?,
    };
    digest_in(&text).ok_or_else(|| {
        Failure::new(format!("{name} was pushed, and its digest was not said")).into()
    })
}

fn digest_in(text: &str) -> Option<String> {
    let start = text.rfind("sha256:")?;
    let digest: String = text[start..].chars().take(71).collect();
    (digest.len() == 71).then_some(digest)
}

/// A directory that only this user reads, and that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the kernel has random bytes");
        let name = random.map(|byte| format!("{byte:02x}")).concat();
        let path = std::env::temp_dir().join(format!("mayfly-build-{name}"));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        let written =
            std::fs::File::create(&path).and_then(|mut file| file.write_all(content.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is readable by this user only.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_what_engines_say() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let docker = format!("v1: digest: {digest} size: 528\n");
        assert_eq!(digest_in(&docker), Some(digest.clone()));
        assert_eq!(digest_in(&format!("{digest}\n")), Some(digest));
        assert_eq!(digest_in("sha256:ab"), None);
    }

    #[test]
    fn only_old_dockers_are_told_to_use_buildkit() {
        assert!(is_before_buildkit("20.10.24+dfsg1\n"));
        for other in ["", "17.05.0-ce", "23.0.1", "26.1.5+dfsg1"] {
            assert!(!is_before_buildkit(other), "{other}");
        }
    }
}

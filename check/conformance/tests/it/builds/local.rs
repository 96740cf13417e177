//! `deploy --local-only`: built with the engine of the computer that asks, pushed from there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use mayfly_conformance::Stage;
use mayfly_testing::wait_until;

use super::{Project, page};

/// Where programs are found: a directory with Debian's podman, whose images lie beside it.
struct Computer(PathBuf);

impl Computer {
    fn new(home: &Path) -> Self {
        let place = home.join("computer");
        fs::create_dir_all(place.join("bin")).unwrap();
        symlink("/usr/bin/podman", place.join("bin/podman")).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{place}/run\"\ngraphroot = \"{place}/graph\"\n",
            place = place.display()
        );
        fs::write(place.join("storage.conf"), storage).unwrap();
        Self(place)
    }

    fn deploy(&self, project: &Project, programs: &str, more: &[&str]) -> Output {
        let mut command = project.cli.command();
        command
            .env("PATH", self.0.join(programs))
            .env("CONTAINERS_STORAGE_CONF", self.0.join("storage.conf"))
            // Steps need no runtime then, which many machines that run tests would refuse.
            .env("BUILDAH_ISOLATION", "chroot")
            .args(["deploy", "--local-only", "--ha=false"])
            .arg(&project.path)
            .args(more);
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn an_engine_of_this_computer_builds_what_the_cloud_runs() {
    let stage = Stage::set();
    let dockerfile = "ARG WORD=none\n\
        RUN --mount=type=secret,id=token echo \"$WORD $(cat /run/secrets/token | wc -c)\" >/said\n\
        COPY . /www\n\
        RUN cat /said >/www/index.html\n\
        CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";
    let project = Project::of_app(&stage, "homemade", dockerfile);
    project.write(
        "fly.toml",
        "app = \"homemade\"\n[http_service]\ninternal_port = 8080\n",
    );
    project.write(".gitignore", "*.log\n");
    project.write("sub/noise.log", "noise");
    let computer = Computer::new(project.cli.home());

    let more = [
        "--build-arg",
        "WORD=hello",
        "--build-secret",
        "token=12345",
        "--dockerignore-from-gitignore",
        "--image-label",
        "mine",
    ];
    let deployed = computer.deploy(&project, "bin", &more);
    let text = said(&deployed);
    assert!(deployed.status.success(), "{text}");
    assert!(text.contains("v1 of homemade is live"), "{text}");
    let image = "image: registry.fly.io/homemade:mine@sha256:";
    assert!(text.contains(image), "{text}");
    wait_until("the page says what the build was given", || {
        page(&stage, "homemade").is_some_and(|page| page == "hello 5\n")
    });
    let ignored = stage.cloud.visit("homemade", "/sub/noise.log").unwrap();
    assert_eq!(ignored.status, 404, "{}", ignored.text());
    // Nothing was built in the cloud.
    let apps = stage.cloud.get("/v1/apps?org_slug=personal").json();
    assert!(!apps.to_string().contains("fly-builder-"), "{apps}");

    // A step that fails changes nothing.
    project.write("Dockerfile", "FROM scratch\nCOPY nowhere /\n");
    let failed = computer.deploy(&project, "bin", &[]);
    assert!(!failed.status.success(), "{failed:?}");
    assert!(said(&failed).contains("the build failed"), "{failed:?}");
    let releases = stage.cloud.get("/v1/apps/homemade/releases").json();
    assert_eq!(releases.as_array().map(Vec::len), Some(1), "{releases}");
}

#[test]
fn without_an_engine_it_is_said_what_can_be_done() {
    let stage = Stage::set();
    let project = Project::of_app(&stage, "nowhere", "");
    let computer = Computer::new(project.cli.home());
    let none = computer.deploy(&project, "none", &[]);
    assert!(!none.status.success(), "{none:?}");
    let text = said(&none);
    assert!(
        text.contains("--local-only: there is neither docker nor podman on this computer"),
        "{text}"
    );
    assert!(text.contains("leave --local-only away"), "{text}");

    // One that is there and does not work is told from none.
    let broken = computer.0.join("broken");
    fs::create_dir(&broken).unwrap();
    let docker = broken.join("docker");
    fs::write(&docker, "#!/bin/sh\necho 'no daemon here' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let failed = computer.deploy(&project, "broken", &[]);
    let text = said(&failed);
    assert!(!failed.status.success(), "{text}");
    assert!(
        text.contains("docker does not work: no daemon here"),
        "{text}"
    );
}

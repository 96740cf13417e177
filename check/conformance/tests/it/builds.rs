//! From a Dockerfile to running machines, in the organization's builder machine.

mod faults;
mod fleet;
mod isolation;
mod local;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};

use mayfly_conformance::Stage;
use mayfly_testing::{CliAnswer, CliRunner, wait_for, wait_until};

/// All of busybox on nothing.
const BASE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

/// Sources of an app below a user's home.
struct Project {
    cli: CliRunner,
    path: PathBuf,
}

impl Project {
    fn new(stage: &Stage, name: &str, dockerfile: &str) -> Self {
        let cli = stage.cloud.cli();
        let path = cli.home().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::copy("/bin/busybox", path.join("busybox")).unwrap();
        let project = Project { cli, path };
        project.write("Dockerfile", &format!("{BASE}{dockerfile}"));
        project
    }

    /// A project of an app that exists.
    fn of_app(stage: &Stage, name: &str, dockerfile: &str) -> Self {
        stage.create_app(name, "personal");
        let project = Project::new(stage, name, dockerfile);
        project.write("fly.toml", &format!("app = \"{name}\"\n"));
        project
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.path.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    /// The words of a line and then more words, run in the project.
    fn run(&self, line: &str, more: &[&str]) -> CliAnswer {
        let path = self.path.to_str().expect("a plain path");
        let words = line.split(' ').map(|word| word.replace("HERE", path));
        let more = more.iter().map(|word| (*word).to_owned());
        self.cli.run(words.chain(more))
    }

    fn deploy(&self, more: &[&str]) -> CliAnswer {
        self.run("deploy HERE --ha=false", more)
    }

    /// A build alone; what it said.
    fn build(&self, more: &[&str]) -> String {
        let built = self.run("deploy HERE --build-only", more);
        built.ok();
        built.stderr
    }
}

/// The organization's builder: its app and machine.
fn builder(stage: &Stage) -> (String, String) {
    let apps = stage.cloud.get("/v1/apps?org_slug=personal").json();
    let apps = apps["apps"].as_array().unwrap();
    let app = apps.iter().find_map(|app| {
        let name = app["name"].as_str()?;
        name.starts_with("fly-builder-").then(|| name.to_owned())
    });
    let app = app.expect("there is a builder");
    let machines = stage.cloud.get(&format!("/v1/apps/{app}/machines")).json();
    let machines = machines.as_array().unwrap();
    assert_eq!(machines.len(), 1, "{machines:?}");
    (app, machines[0]["id"].as_str().unwrap().to_owned())
}

fn page(stage: &Stage, app: &str) -> Option<String> {
    let answer = stage.cloud.visit(app, "/").ok()?;
    (answer.status == 200).then(|| answer.text())
}

/// Whether a file below `directory` contains `canary`.
fn holds(directory: &Path, canary: &str) -> bool {
    fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            return holds(&path, canary);
        }
        let content = fs::read(&path).unwrap_or_default();
        let canary = canary.as_bytes();
        kind.is_file() && content.windows(canary.len()).any(|window| window == canary)
    })
}

#[test]
fn sources_are_launched_changed_and_built_again_from_the_cache() {
    let stage = Stage::set();
    stage.import_builder();
    let dockerfile =
        "COPY www /www\nEXPOSE 8080\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";
    let project = Project::new(&stage, "site", dockerfile);
    project.write("www/index.html", "first");
    let launched = project.run("launch --path HERE --name site --yes --ha=false", &[]);
    assert!(launched.ok().contains("v1 of site is live"), "{launched:?}");
    assert!(!launched.stderr.contains("Using cache"), "{launched:?}");
    // A launched app wants HTTPS.
    let config = fs::read_to_string(project.path.join("fly.toml")).unwrap();
    let config = config.replace("force_https = true", "force_https = false");
    project.write("fly.toml", &config);

    project.write("www/index.html", "second");
    let changed = project.deploy(&[]);
    assert!(changed.ok().contains("v2 of site is live"), "{changed:?}");
    // What did not change was not done again.
    assert!(changed.stderr.contains("Using cache"), "{changed:?}");
    let digest = |answer: &CliAnswer| {
        let line = answer
            .stdout
            .lines()
            .find(|line| line.starts_with("image: "));
        let (_, digest) = line.unwrap().split_once('@').unwrap();
        digest.to_owned()
    };
    assert_ne!(digest(&launched), digest(&changed));
    let machines = stage.cloud.get("/v1/apps/site/machines").json();
    assert_eq!(machines[0]["image_ref"]["digest"], digest(&changed));
    wait_until("the second page is there", || {
        page(&stage, "site").is_some_and(|page| page.contains("second"))
    });

    // Nothing changed: the same image.
    let again = project.deploy(&[]);
    again.ok();
    assert_eq!(digest(&again), digest(&changed));
    // And all of it anew, on demand.
    let anew = project.build(&["--no-cache"]);
    assert!(!anew.contains("Using cache"), "{anew}");
}

#[test]
fn a_build_is_given_what_it_shall_have_and_no_more() {
    let stage = Stage::set();
    stage.import_builder();
    let canary = "canary-5d1f";
    let dockerfile = "ARG WORD=none\n\
        RUN --mount=type=secret,id=token wc -c </run/secrets/token >/length\n\
        RUN --mount=type=cache,target=/cache echo x >>/cache/runs; wc -l </cache/runs >/runs\n\
        RUN echo \"said $WORD\"\n\
        COPY . /src\n\
        RUN cd /src; echo \"given $(find . -type f | sort | tr '\\n' ' ')\"; echo \"length $(cat /length)\"; echo \"runs $(cat /runs)\"\n\
        FROM scratch AS other\n\
        COPY busybox /busybox\n";
    let project = Project::of_app(&stage, "parts", dockerfile);
    for (path, text) in [
        ("keep/a", "a"),
        ("drop/a", "a"),
        ("drop/kept", "k"),
        (".env", "SECRET=1"),
        ("notes.md", "n"),
        ("README.md", "r"),
    ] {
        project.write(path, text);
    }
    project.write(
        ".dockerignore",
        "drop\n!drop/kept\n*.md\n!README.md\n.env\nfly.toml\n",
    );
    let secret = format!("token={canary}");
    let first = [
        "--build-secret",
        &secret,
        "--build-target",
        "0",
        "--build-arg",
        "WORD=hi",
    ];
    let said = project.build(&first);
    for line in [
        "said hi",
        "given ./.dockerignore ./Dockerfile ./README.md ./busybox ./drop/kept ./keep/a ",
        "length 11",
        "runs 1",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // The cache of the mount outlives the layer; the secret is nowhere.
    let again = [
        &first[..],
        &[
            "--no-cache",
            "--push",
            "--image-label",
            "v42",
            "--label",
            "by=us",
            "--compression",
            "zstd",
            "--compression-level",
            "3",
        ],
    ]
    .concat();
    let pushed = project.run("deploy HERE --build-only", &again);
    assert!(pushed.stderr.contains("runs 2"), "{pushed:?}");
    assert!(pushed.ok().contains("/parts:v42@sha256:"), "{pushed:?}");
    assert!(!pushed.stderr.contains(canary), "{pushed:?}");
    assert!(!holds(&stage.cloud.data_dir().join("registry"), canary));
    let releases = stage.cloud.get("/v1/apps/parts/releases").json();
    assert_eq!(releases.as_array().map(Vec::len), Some(0), "{releases}");

    // A file that hardly belongs into an image is pointed out; another ignore file is another context.
    project.write("other.ignore", "drop\n*.md\n");
    let ignore = project.path.join("other.ignore");
    let ignore = ["--ignorefile", ignore.to_str().unwrap()];
    let other = [&first[..], &ignore].concat();
    let said = project.build(&other);
    assert!(
        said.contains("Warning: the build context holds .env"),
        "{said}"
    );
    assert!(
        said.contains("./.env") && !said.contains("./README.md"),
        "{said}"
    );

    // By its label the image is deployed like any other.
    let deployed = project.run(
        "deploy HERE --detach --image registry.fly.io/parts:v42",
        &[],
    );
    assert_eq!(deployed.ok(), "v1\n");
    let image = wait_for("a release of it is there", || {
        let releases = stage.cloud.get("/v1/apps/parts/releases").json();
        let image = releases[0]["image_ref"].as_str()?;
        Some(image.to_owned())
    });
    assert!(image.starts_with("registry.fly.io/parts"), "{image}");

    // Base images come by the mirror, which has what was imported.
    project.write(
        "Dockerfile",
        "FROM hello:latest\nRUN echo \"user $(id -un)\"\n",
    );
    let said = project.build(&[]);
    assert!(said.contains("user hello"), "{said}");

    let refused = project.run("deploy HERE --nixpacks", &[]);
    assert!(
        refused.refused().contains("this cloud builds Dockerfiles"),
        "{refused:?}"
    );
}

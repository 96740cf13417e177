//! Builds that fail, are called off, meet each other, or lose their daemon.

use std::fs;
use std::process::{Child, Command, Stdio};

use mayfly_conformance::{Stage, is_alive, tool};
use mayfly_testing::{CloudOptions, wait_until};

use super::{Project, builder};

/// A build under way; ended with this.
struct Building(Child);

impl Building {
    fn begin(project: &Project) -> Self {
        let mut command = project.cli.command();
        let path = &project.path;
        command
            .arg("deploy")
            .arg(path)
            .arg("--build-only")
            .args(["--no-cache"]);
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_failing_step_is_named_and_changes_nothing() {
    let stage = Stage::set();
    stage.import_builder();
    let project = Project::of_app(&stage, "broken", "RUN echo before; exit 7\n");
    let failed = project.deploy(&[]);
    let said = failed.refused();
    assert!(said.contains("before"), "{said}");
    let last = said.trim_end().lines().last().unwrap();
    assert_eq!(
        last,
        "Error: the build failed at step 4/4: RUN echo before; exit 7: it exited with code 7"
    );
    let releases = stage.cloud.get("/v1/apps/broken/releases").json();
    assert_eq!(releases.as_array().map(Vec::len), Some(0), "{releases}");
    for (dockerfile, says) in [
        ("FRUM scratch\n", "no FROM statement"),
        ("FROM scratch\nCOPY nowhere /\n", "COPY nowhere /"),
        ("FROM registry.fly.io/another-app:v1\n", "another-app"),
    ] {
        project.write("Dockerfile", dockerfile);
        let failed = project.deploy(&[]);
        assert!(failed.refused().contains(says), "{says}: {failed:?}");
    }
    let target = project.deploy(&["--build-target", "no such"]);
    assert!(
        target
            .refused()
            .contains("target: name or number of a stage"),
        "{target:?}"
    );
}

#[test]
fn builds_are_called_off_and_survive_each_other_and_the_daemon() {
    let idle = CloudOptions {
        config: Some("[builder]\nidle = \"5s\"\n".to_owned()),
        ..CloudOptions::default()
    };
    let mut stage = Stage::set_with(idle);
    stage.import_builder();
    // Told from those of other tests by how long it would take.
    let seconds = 100_000 + std::process::id();
    let long = Project::of_app(&stage, "long", &format!("RUN sleep {seconds}\n"));
    let step = format!("sleep\0{seconds}");
    let short = Project::of_app(&stage, "short", "RUN sleep 1; echo done\n");

    // Ctrl-C, or a client that is gone, ends the steps too.
    let building = Building::begin(&long);
    let pid = stage.host_pid(&step);
    // Another build meanwhile.
    let said = short.build(&[]);
    assert!(said.contains("done"), "{said}");
    assert!(is_alive(pid));
    drop(building);
    wait_until("the step is gone", || !is_alive(pid));

    // Nobody builds: the machine sleeps. The next build wakes it, with its cache.
    let (app, id) = builder(&stage);
    let state = || {
        let machine = stage.cloud.get(&format!("/v1/apps/{app}/machines/{id}"));
        machine.json()["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    wait_until("the builder sleeps", || state() == "stopped");
    let said = short.build(&[]);
    assert!(said.contains("Waking builder machine"), "{said}");
    assert!(said.contains("Using cache"), "{said}");

    // A daemon that dies takes the build with it, and nothing else.
    let mut building = Building::begin(&long);
    let pid = stage.host_pid(&step);
    stage.cloud.kill_daemon();
    assert!(!building.0.wait().unwrap().success());
    stage.cloud.start_daemon();
    wait_until("the step is gone as well", || !is_alive(pid));
    let said = short.build(&[]);
    assert!(said.contains("Using cache"), "{said}");
    assert_eq!(builder(&stage), (app, id));
}

#[test]
fn a_new_version_of_the_builder_keeps_the_cache() {
    let stage = Stage::set();
    stage.import_builder();
    let project = Project::of_app(&stage, "kept", "RUN echo once\n");
    let first = project.build(&[]);
    assert!(!first.contains("Using cache"), "{first}");
    let (app, id) = builder(&stage);
    let image = || {
        let machine = stage.cloud.get(&format!("/v1/apps/{app}/machines/{id}"));
        machine.json()["image_ref"]["digest"].to_string()
    };
    let before = image();

    // The same programs with another configuration are another image of that name.
    let place = tempfile::tempdir().unwrap();
    let tar = |arguments: &[&str]| {
        let mut command = Command::new("tar");
        let command = command.current_dir(place.path()).args(arguments);
        assert!(command.status().unwrap().success(), "tar {arguments:?}");
    };
    let archive = tool("builder.tar");
    tar(&["-xf", archive.to_str().unwrap()]);
    let config = place.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("\"Cmd\":", "\"Labels\":{\"version\":\"next\"},\"Cmd\":");
    fs::write(&config, text).unwrap();
    tar(&[
        "-cf",
        "next.tar",
        "manifest.json",
        "config.json",
        "layer.tar",
    ]);
    let next = place.path().join("next.tar");
    let next = next.to_str().unwrap();
    project.cli.run(["image", "import", next]).ok();

    let said = project.build(&[]);
    assert!(said.contains("to the newest version"), "{said}");
    assert!(said.contains("Using cache"), "{said}");
    assert_eq!(builder(&stage), (app.clone(), id.clone()));
    assert_ne!(image(), before);
}

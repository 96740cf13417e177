//! Whoever is killed in the middle of a deployment from sources: its end is told truly, and the next one works.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use mayfly_conformance::Stage;
use mayfly_testing::{Leftovers, Method, send, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Project, builder, page};
use crate::deploy::rounds;
use crate::fault_loop::Dice;

/// Rounds of the everyday test; `MAYFLY_DEPLOY_ROUNDS` makes more.
const ROUNDS: usize = 3;
/// What deployments here take is below that.
const MOMENTS_MS: u64 = 5000;

const APP: &str = "struck";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// All of the builder machine.
    Builder,
    /// One process in it.
    Process,
    /// The daemon, and with it the registry and the way of the build.
    Daemon,
}

#[test]
fn the_next_deploy_works_whoever_is_killed() {
    let mut stage = Stage::set();
    stage.import_builder();
    let dockerfile = "COPY www /www\n\
        RUN sleep 1; head -c 4000000 /dev/urandom >/big\n\
        CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";
    let project = Project::of_app(&stage, APP, dockerfile);
    let config = format!("app = \"{APP}\"\n[http_service]\ninternal_port = 8080\n");
    project.write("fly.toml", &config);
    deploys(&stage, &project, "begin");
    let seed = 0x5eed_0000 + u64::from(std::process::id());
    let mut dice = Dice(seed | 1);
    let (mut survived, mut failed) = (0, 0);
    for round in 1..=rounds(ROUNDS) {
        let victim = [Victim::Daemon, Victim::Builder, Victim::Process][round % 3];
        let told = format!("seed {seed:#x}, round {round}: {victim:?}");
        let before = newest(&project)["version"].as_i64().unwrap();
        let tag = format!("round{round}");
        project.write("www/index.html", &tag);
        let mut command = project.cli.command();
        command
            .arg("deploy")
            .arg(&project.path)
            .args(["--ha=false", "--smoke-checks=false", "--image-label", &tag])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let client = command.spawn().unwrap();
        thread::sleep(Duration::from_millis(dice.roll(MOMENTS_MS)));
        match victim {
            Victim::Builder => kill(&in_builder(&stage)),
            Victim::Process => {
                let processes = in_builder(&stage);
                let one = dice.roll(processes.len().max(1) as u64);
                let one = usize::try_from(one).unwrap();
                kill(processes.get(one..=one).unwrap_or_default());
            }
            Victim::Daemon => stage.cloud.crash_and_restart(),
        }
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = format!("{told}: {said}");
        wait_until(&format!("{told} is at its end"), || {
            newest(&project)["finished_at"].is_string()
        });
        let newest = newest(&project);
        let is_new = newest["version"] != before;
        assert_eq!(newest["status"], "complete", "{told}: {newest}");
        match output.status.success() {
            true => {
                assert_eq!(newest["version"], before + 1, "{told}");
                survived += 1;
            }
            false => {
                assert!(said.contains("Error: "), "{told}");
                // Only the cloud itself can be gone after the release was recorded.
                assert!(!is_new || victim == Victim::Daemon, "{told}: {newest}");
                failed += 1;
            }
        }
        let pushed = is_whole(&stage, &tag, &told);
        assert!(pushed || !is_new, "{told}: {newest}");
        deploys(&stage, &project, &format!("after{round}"));
    }
    wait_until("the builder has cleared what killed builds left", || {
        in_builder(&stage).iter().any(|process| {
            let within = |place: &str| fs::read_dir(format!("/proc/{process}/root/{place}"));
            let contexts = within("var/lib/containers/contexts");
            within("run/builds").is_ok_and(|mut left| left.next().is_none())
                && contexts.map_or(true, |mut left| left.next().is_none())
        })
    });
    println!("{survived} deployments survived, {failed} failed; seed {seed:#x}");
}

/// A deployment that nobody disturbs.
#[track_caller]
fn deploys(stage: &Stage, project: &Project, word: &str) {
    project.write("www/index.html", word);
    project.deploy(&["--smoke-checks=false"]).ok();
    wait_until(&format!("the page says {word}"), || {
        page(stage, APP).is_some_and(|page| page == word)
    });
}

fn newest(project: &Project) -> Value {
    let list = project.cli.run(["releases", "--app", APP, "--json"]).json();
    list[0].clone()
}

/// The processes of the builder machine, as this server numbers them.
fn in_builder(stage: &Stage) -> Vec<i32> {
    let (_, id) = builder(stage);
    let found = Leftovers::find(&stage.cloud.data_dir(), &[id]);
    let lists = found
        .cgroups
        .iter()
        .filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
    let pids: Vec<i32> = lists
        .flat_map(|list| {
            let numbers = list.lines().filter_map(|line| line.parse().ok());
            numbers.collect::<Vec<i32>>()
        })
        .collect();
    pids
}

fn kill(processes: &[i32]) {
    for pid in processes.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // It may have ended by itself.
        kill_process(pid, Signal::KILL).ok();
    }
}

/// Whether there is an image by this tag; all of it has to be there then.
fn is_whole(stage: &Stage, tag: &str, told: &str) -> bool {
    let bearer = format!("Bearer {}", stage.cloud.token());
    let fields = [("authorization", bearer.as_str())];
    let ask = |method, path: &str| {
        let path = format!("/v2/{APP}/{path}");
        send(stage.cloud.api(), method, &path, &fields, b"").unwrap()
    };
    let manifest = ask(Method::Get, &format!("manifests/{tag}"));
    if manifest.status == 404 {
        return false;
    }
    assert_eq!(manifest.status, 200, "{told}");
    let manifest = manifest.json();
    let layers = manifest["layers"].as_array().unwrap();
    for blob in layers.iter().chain([&manifest["config"]]) {
        let digest = blob["digest"].as_str().unwrap();
        let answer = ask(Method::Get, &format!("blobs/{digest}"));
        assert_eq!(answer.status, 200, "{told}: {digest}");
    }
    true
}

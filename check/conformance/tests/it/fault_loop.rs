//! The daemon is killed again and again under load; afterwards API, journal and kernel must agree.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use mayfly_conformance::Stage;
use mayfly_testing::{Answer, Leftovers, Method, wait_for, wait_until};
use serde_json::{Value, json};

/// Seconds of load; `MAYFLY_FAULT_SECONDS` makes it longer.
const SECONDS: u64 = 20;
const WORKERS: u64 = 3;

/// What a worker knows of a machine it made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// The last change was acknowledged: the machine must come to rest in this state.
    Must(&'static str),
    /// The last change got no answer: either outcome is right.
    May,
    /// Destruction was acknowledged.
    Gone,
    /// Destruction got no answer.
    MayBeGone,
}

struct Load<'a> {
    stage: &'a RwLock<Stage>,
    known: Mutex<BTreeMap<String, Known>>,
    acknowledged: AtomicU64,
    unanswered: AtomicU64,
}

/// A small generator (xorshift) whose seed is printed with a failure.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

impl Load<'_> {
    fn call(&self, method: Method, path: &str, body: &Value) -> Option<Answer> {
        let stage = self.stage.read().expect("no holder panics");
        let answer = stage.cloud.try_call(method, &stage.path(path), body).ok();
        match &answer {
            Some(_) => self.acknowledged.fetch_add(1, Ordering::Relaxed),
            None => self.unanswered.fetch_add(1, Ordering::Relaxed),
        };
        answer
    }

    fn note(&self, id: &str, known: Known) {
        self.known
            .lock()
            .expect("no holder panics")
            .insert(id.to_owned(), known);
    }

    /// One random change of one of the worker's own machines, or a new one.
    fn turn(&self, dice: &mut Dice, mine: &mut Vec<String>) {
        let config = || {
            let mut config = Stage::sleeper();
            config["stop_config"] = json!({"timeout": "500ms", "signal": "SIGTERM"});
            config["restart"] = json!({"policy": "always"});
            config
        };
        if mine.is_empty() || (mine.len() < 5 && dice.roll(3) == 0) {
            let answer = self.call(Method::Post, "", &json!({"config": config()}));
            if let Some(answer) = answer.filter(|answer| answer.status == 200) {
                let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
                self.note(&id, Known::Must("started"));
                mine.push(id);
            }
            return;
        }
        let at = usize::try_from(dice.roll(mine.len() as u64)).expect("an index");
        let id = mine[at].clone();
        let (method, path, body, reached, lost) = match dice.roll(5) {
            0 => (
                Method::Post,
                format!("/{id}/start"),
                json!({}),
                Known::Must("started"),
                Known::May,
            ),
            1 | 2 => (
                Method::Post,
                format!("/{id}/stop"),
                json!({}),
                Known::Must("stopped"),
                Known::May,
            ),
            3 => {
                let mut changed = config();
                changed["env"] = json!({"TURN": dice.roll(1000).to_string()});
                (
                    Method::Post,
                    format!("/{id}"),
                    json!({"config": changed}),
                    Known::Must("started"),
                    Known::May,
                )
            }
            _ => {
                mine.swap_remove(at);
                (
                    Method::Delete,
                    format!("/{id}?force=true"),
                    Value::Null,
                    Known::Gone,
                    Known::MayBeGone,
                )
            }
        };
        let before = self
            .known
            .lock()
            .expect("no holder panics")
            .get(&id)
            .cloned();
        self.note(&id, lost);
        match self.call(method, &path, &body) {
            Some(answer) if (200..300).contains(&answer.status) => self.note(&id, reached),
            // Refused, because another change is under way: nothing was promised, and nothing changed.
            Some(answer) if (400..500).contains(&answer.status) => {
                if let Some(before) = before {
                    self.note(&id, before);
                }
                if path.contains("force") {
                    mine.push(id);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_left_behind() {
    let seconds = std::env::var("MAYFLY_FAULT_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let seed = 0x5eed_0000 + u64::from(std::process::id());
    println!("seed {seed:#x}, {seconds} s");
    let stage = RwLock::new(Stage::set());
    let load = Load {
        stage: &stage,
        known: Mutex::default(),
        acknowledged: AtomicU64::new(0),
        unanswered: AtomicU64::new(0),
    };
    let ended = AtomicBool::new(false);
    let began = Instant::now();
    let mut kills = 0;
    std::thread::scope(|scope| {
        for worker in 1..=WORKERS {
            let (load, ended) = (&load, &ended);
            scope.spawn(move || {
                let mut dice = Dice(seed.wrapping_mul(worker) | 1);
                let mut mine = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    load.turn(&mut dice, &mut mine);
                }
            });
        }
        let mut dice = Dice(seed | 1);
        while began.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(100 + dice.roll(900)));
            // Killing needs no lock on purpose: requests are under way.
            kill_under_load(&stage);
            kills += 1;
            let mut stage = stage.write().expect("no holder panics");
            stage.cloud.kill_daemon();
            stage.cloud.start_daemon();
        }
        ended.store(true, Ordering::Relaxed);
    });
    let known = load.known.into_inner().expect("no holder panics");
    println!(
        "{kills} kills, {} requests answered, {} cut off, {} machines",
        load.acknowledged.into_inner(),
        load.unanswered.into_inner(),
        known.len()
    );
    let mut stage = stage.into_inner().expect("no holder panics");
    promises_hold(&stage, &known);
    kernel_agrees(&mut stage, &known);
}

fn kill_under_load(stage: &RwLock<Stage>) {
    let pid = stage.read().expect("no holder panics").cloud.daemon_pid();
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(
        pid.expect("a child has a pid"),
        rustix::process::Signal::KILL,
    )
    .expect("our own child");
}

fn promises_hold(stage: &Stage, known: &BTreeMap<String, Known>) {
    let listed = stage.cloud.get(&stage.path("")).expect(200);
    let listed: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|machine| machine["id"].as_str())
        .collect();
    for (id, known) in known {
        match known {
            Known::Gone => {
                wait_until(&format!("{id}, destroyed, is gone"), || {
                    stage.state(id) == "destroyed"
                });
            }
            Known::Must(state) => {
                assert!(
                    listed.contains(&id.as_str()),
                    "{id}, acknowledged, is not listed"
                );
                wait_until(&format!("{id} comes to be {state}"), || {
                    stage.state(id) == *state
                });
            }
            Known::May => assert!(listed.contains(&id.as_str()), "{id} is not listed"),
            Known::MayBeGone => {}
        }
    }
    // Whatever was cut off, everything comes to rest.
    for id in listed {
        wait_until(&format!("{id} comes to rest"), || {
            matches!(
                stage.state(id).as_str(),
                "started" | "stopped" | "destroyed"
            )
        });
    }
}

fn kernel_agrees(stage: &mut Stage, known: &BTreeMap<String, Known>) {
    let data_dir = stage.cloud.data_dir();
    let listed = stage.cloud.get(&stage.path("")).expect(200);
    let machines: Vec<(String, bool)> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|machine| {
            let id = machine["id"].as_str().unwrap_or_default().to_owned();
            (id, machine["state"] == "started")
        })
        .collect();
    for (id, runs) in &machines {
        wait_until(&format!("the kernel and the API agree on {id}"), || {
            let left = Leftovers::find(
                &data_dir.join("machines").join(id),
                std::slice::from_ref(id),
            );
            left.processes.is_empty() != *runs
        });
        if *runs {
            assert_eq!(stage.shell(id, "echo well"), "well");
        }
    }
    for (id, _) in &machines {
        stage.destroy(id);
    }
    let all: Vec<String> = known.keys().cloned().collect();
    let daemon = i32::try_from(stage.cloud.daemon_pid()).expect("a pid");
    let left = wait_for("the kernel holds nothing of destroyed machines", || {
        let mut left = Leftovers::find(&data_dir, &all);
        left.processes.remove(&daemon);
        (left.is_empty()
            || left.processes.is_empty() && left.cgroups.is_empty() && left.namespaces.is_empty())
        .then_some(left)
    });
    let below_machines: Vec<_> = left
        .mounts
        .iter()
        .filter(|mount| mount.starts_with(data_dir.join("machines")))
        .collect();
    assert!(below_machines.is_empty(), "{below_machines:?}");
    wait_until("their directories are gone", || {
        stage.cloud.machine_ids().is_empty()
    });
    let status = stage.cloud.get("/v1/status").expect(200);
    assert_eq!(
        status["host"]["machines"], 0,
        "rows left in the journal: {status}"
    );
}

//! Machines are put to rest without work and woken by requests.

use std::thread;

use mayfly_conformance::Stage;
use mayfly_testing::{CloudOptions, wait_until};
use serde_json::{Value, json};

/// Autostop looks often enough for a test.
fn impatient() -> Stage {
    Stage::set_with(CloudOptions {
        config: Some("[edge]\nautostop_period = \"700ms\"\n".to_owned()),
        ..CloudOptions::default()
    })
}

/// A service of the hello image; `more` is laid over it.
fn service(more: Value) -> Value {
    let mut service = json!({
        "protocol": "tcp",
        "internal_port": 8080,
        "ports": [{"port": 80, "handlers": ["http"]}],
        "concurrency": {"type": "requests", "soft_limit": 300},
    });
    let fields = service.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    service
}

fn config(more: Value) -> Value {
    json!({"image": "hello:latest", "services": [service(more)]})
}

/// The machine that answers a visit.
fn answerer(stage: &Stage) -> String {
    let answer = stage.cloud.visit(&stage.app, "/").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["machine"].as_str().unwrap().to_owned()
}

fn starts_by_proxy(stage: &Stage, id: &str) -> usize {
    let by_proxy = |kind| {
        stage
            .events(id, kind)
            .iter()
            .filter(|event| event["source"] == "proxy")
            .count()
    };
    by_proxy("start") + by_proxy("resume")
}

#[test]
fn an_idle_app_is_stopped_and_woken_by_the_next_request() {
    let stage = impatient();
    let id = stage.start(config(json!({"autostop": "stop"})));
    assert_eq!(answerer(&stage), id);
    stage.wait(&id, "stopped");
    let stops = stage.events(&id, "stop");
    assert_eq!(stops[0]["source"], "proxy", "{stops:?}");
    assert_eq!(answerer(&stage), id);
    assert_eq!(starts_by_proxy(&stage, &id), 1);
}

#[test]
fn an_idle_app_is_suspended_and_thaws_with_its_memory() {
    let stage = impatient();
    let id = stage.start(config(json!({"autostop": "suspend"})));
    assert_eq!(answerer(&stage), id);
    let boot = stage.shell(&id, "echo marked >/dev/shm/mark; cat /dev/shm/mark");
    assert_eq!(boot, "marked");
    stage.wait(&id, "suspended");
    assert_eq!(answerer(&stage), id);
    // The request is answered before the machine's state is told to everybody.
    stage.wait(&id, "started");
    assert_eq!(stage.shell(&id, "cat /dev/shm/mark"), "marked");
    assert!(stage.exits(&id) == 0 && starts_by_proxy(&stage, &id) >= 1);
}

#[test]
fn two_hundred_requests_start_a_stopped_machine_once_and_are_all_answered() {
    let stage = Stage::set();
    // The server of the hello image lets nine connections wait; of those beyond, the kernel may keep some waiting for a
    // minute.
    stage.import_echo();
    let id = stage.start(Stage::echo(service(json!({}))));
    stage.act(&id, "stop", json!({}));
    stage.wait(&id, "stopped");
    thread::scope(|scope| {
        let visits: Vec<_> = (0..200)
            .map(|_| {
                scope.spawn(|| {
                    stage
                        .cloud
                        .visit(&stage.app, "/")
                        .map(|answer| answer.status)
                })
            })
            .collect();
        for visit in visits {
            assert_eq!(visit.join().unwrap().unwrap(), 200);
        }
    });
    assert_eq!(starts_by_proxy(&stage, &id), 1);
}

#[test]
fn machines_rest_one_by_one_down_to_the_floor() {
    let stage = impatient();
    let idle = || config(json!({"autostop": "stop", "min_machines_running": 1}));
    let ids: Vec<String> = (0..3).map(|_| stage.start(idle())).collect();
    let running = || ids.iter().filter(|id| stage.state(id) == "started").count();
    wait_until("all but one rest", || running() == 1);
    // More passes change nothing.
    let stops = || {
        ids.iter()
            .map(|id| stage.events(id, "stop").len())
            .sum::<usize>()
    };
    thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!((running(), stops()), (1, 2));
}

#[test]
fn above_the_soft_limit_another_machine_is_woken_and_autostart_false_is_kept() {
    let stage = Stage::set();
    let limits = json!({"concurrency": {"type": "requests", "soft_limit": 1, "hard_limit": 2}});
    let slow = |extra: Value| {
        let mut config = config(extra);
        config["init"] = json!({"exec": ["/bin/sh", "-c",
            "mkdir -p /tmp/w/cgi-bin; printf '#!/bin/sh\\nsleep 2; echo Content-Type: text/plain; echo; echo $FLY_MACHINE_ID' >/tmp/w/cgi-bin/i; chmod 755 /tmp/w/cgi-bin/i; exec httpd -f -p 8080 -h /tmp/w"]});
        config
    };
    let first = stage.start(slow(limits.clone()));
    let second = stage.start(slow(limits));
    stage.act(&second, "stop", json!({}));
    stage.wait(&second, "stopped");
    let answers: Vec<u16> = thread::scope(|scope| {
        let visits: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| stage.cloud.visit(&stage.app, "/cgi-bin/i").unwrap().status))
            .collect();
        visits
            .into_iter()
            .map(|visit| visit.join().unwrap())
            .collect()
    });
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(stage.state(&second), "started");
    assert_eq!(starts_by_proxy(&stage, &second), 1);
    for id in [&first, &second] {
        stage.destroy(id);
    }
    let kept = stage.start(config(json!({"autostart": false})));
    stage.act(&kept, "stop", json!({}));
    stage.wait(&kept, "stopped");
    wait_until("the app has no machine", || {
        stage.cloud.visit(&stage.app, "/").unwrap().status == 503
    });
    assert_eq!(stage.state(&kept), "stopped");
}

use std::time::Duration;

use mayfly_driver::fake::Ending;
use mayfly_host_api::{HostApi, LogPage, LogQuery};
use mayfly_logs::{Line, LogLimits, LogWriter, Source};
use mayfly_machine::MachineState;
use mayfly_types::Timestamp;

use crate::world::{World, id, spec};

fn say(world: &World, number: u8, message: &str) {
    let dir = world.data_dir().join("machines").join(id(number).as_str());
    let line = Line {
        at: Timestamp::from_millis(i64::MAX / 1000),
        source: Source::App,
        stream: "stdout",
        container: None,
        message,
    };
    let mut writer = LogWriter::open(dir.join("logs"), LogLimits::default()).unwrap();
    writer.append(&[line]).unwrap();
}

fn messages(page: &LogPage) -> Vec<&str> {
    page.entries
        .iter()
        .map(|entry| entry.message.as_str())
        .collect()
}

#[test]
fn the_platform_tells_of_starts_and_ends_beside_the_output() {
    let world = World::new();
    let mut spec = spec();
    spec.restart.max_retries = Some(0);
    world.started(1, spec);
    say(&world, 1, "hello");
    world.driver.end(id(1), Ending::OutOfMemory);
    world.wait(1, MachineState::Stopped);
    let query = LogQuery {
        machines: vec![(id(1), 0)],
        tail: None,
        limit: 100,
        patience: Duration::ZERO,
    };
    mayfly_testing::wait_until("the last line is there", || {
        let page = world.call(async |host| host.logs(query.clone()).await);
        messages(&page.unwrap()).len() == 4
    });
    let page = world
        .call(async |host| host.logs(query.clone()).await)
        .unwrap();
    let mut lines = messages(&page);
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "Main child exited with signal SIGKILL",
            "Out of memory: the kernel killed a process of the machine",
            "Starting machine",
            "hello",
        ]
    );
}

#[test]
fn a_page_waits_for_a_line_of_any_machine() {
    let world = World::new();
    world.started(1, spec());
    world.started(2, spec());
    let query = |cursors| LogQuery {
        machines: cursors,
        tail: Some(1),
        limit: 10,
        patience: Duration::from_secs(30),
    };
    let first = world
        .call(async |host| host.logs(query(vec![(id(1), 0), (id(2), 0)])).await)
        .unwrap();
    assert_eq!(messages(&first), ["Starting machine"]);
    let next = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            world
                .call(async |host| host.logs(query(first.cursors.clone())).await)
                .unwrap()
        });
        say(&world, 2, "news");
        waiting.join().unwrap()
    });
    assert_eq!(messages(&next), ["news"]);
    assert_eq!(next.entries[0].machine_id, id(2));
}

#[test]
fn the_log_outlives_the_machine() {
    let world = World::new();
    let mut spec = spec();
    spec.auto_destroy = true;
    world.started(1, spec);
    say(&world, 1, "last words");
    world.driver.end(id(1), Ending::Code(0));
    world.wait(1, MachineState::Destroyed);
    let query = LogQuery {
        machines: vec![(id(1), 0)],
        tail: Some(100),
        limit: 100,
        patience: Duration::from_millis(1),
    };
    let page = world.call(async |host| host.logs(query).await).unwrap();
    assert!(messages(&page).contains(&"last words"));
    assert!(
        !world
            .data_dir()
            .join("machines")
            .join(id(1).as_str())
            .join("logs")
            .exists()
    );
}

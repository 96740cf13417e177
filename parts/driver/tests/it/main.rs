//! The container driver against the real kernel, cgroups and network; needs root. Nothing is left behind.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod harness;
mod volumes;

use std::net::TcpStream;
use std::time::Duration;

use mayfly_driver::{Driver, DriverError, Observed};
use mayfly_host_api::{ExecExit, ExecInput, ExecOutput, ExecRequest, MemoryRequest};
use mayfly_machine::{RootfsSpec, Signal};

use crate::harness::{TestHost, alive, launch, shell, wait_until, within};

#[tokio::test]
async fn a_machine_runs_ends_and_leaves_nothing() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let guest = host.run(&body, "exit 7").await;
    let exit = host.exited(&body, &guest).await;
    assert_eq!((exit.exit_code, exit.signal), (Some(7), None));
    assert_eq!(
        host.driver.observe(body.machine_id).await.unwrap(),
        Observed::Exited(exit.clone())
    );
    assert_eq!(
        host.exited(&body, &guest).await,
        exit,
        "asked again, answered again"
    );
    host.driver.clean(body.machine_id).await.unwrap();
    assert_eq!(
        host.driver.observe(body.machine_id).await.unwrap(),
        Observed::Absent
    );
    assert_eq!(host.driver.machines().await.unwrap(), [body.machine_id]);

    host.run(&body, "sleep 1000").await;
    host.driver.remove(body.machine_id).await.unwrap();
    host.driver.remove(body.machine_id).await.unwrap();
    assert_eq!(host.driver.machines().await.unwrap(), []);
    assert_eq!(host.leftovers(), Vec::<String>::new());
    host.finish().await;
}

#[tokio::test]
async fn a_program_that_cannot_run_is_the_guest_s_fault() {
    let host = TestHost::new().await;
    let body = host.body(1);
    host.driver.provision(&body).await.unwrap();
    let mut wrong = launch(&body, "");
    wrong.spec.containers[0].processes[0].argv = vec!["/bin/nothing".to_owned()];
    for attempt in ["first", "again"] {
        match host.driver.launch(&body, &wrong).await {
            Err(DriverError::Guest { reason }) => {
                assert!(reason.contains("/bin/nothing"), "{attempt}: {reason}");
            }
            other => panic!("{attempt}: {other:?}"),
        }
    }
    let Observed::Exited(exit) = host.driver.observe(body.machine_id).await.unwrap() else {
        panic!("its end is on record");
    };
    assert!(exit.failure.is_some());
    host.run(&body, "sleep 1000").await;
    host.finish().await;
}

#[tokio::test]
async fn a_daemon_that_comes_back_finds_its_guests() {
    let mut host = TestHost::new().await;
    let (body, brief) = (host.body(1), host.body(2));
    let first = launch(&body, "echo up; sleep 1000");
    host.driver.provision(&body).await.unwrap();
    let guest = host.driver.launch(&body, &first).await.unwrap();
    let short = host.run(&brief, "exit 3").await;
    wait_until("the short one is gone", || !alive(short.monitor_pid)).await;

    host.restart().await;
    let seen = host.driver.observe(body.machine_id).await.unwrap();
    assert_eq!(seen, Observed::Running(guest.clone()));
    assert_eq!(
        host.driver.launch(&body, &first).await.unwrap(),
        guest,
        "the same launch is the same guest"
    );
    assert!(
        host.try_run(&body, "true").await.is_err(),
        "another is refused"
    );
    assert_eq!(host.exited(&brief, &short).await.exit_code, Some(3));
    assert_eq!(host.exec(&body, "echo hello").await, (0, "hello\n".into()));
    host.driver.kill(body.machine_id).await.unwrap();
    host.driver.kill(body.machine_id).await.unwrap();
    assert_eq!(host.exited(&body, &guest).await.signal, Some(9));
    host.finish().await;
}

#[tokio::test]
async fn a_killed_monitor_ends_the_guest_and_is_reported() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let guest = host.run(&body, "sleep 1000").await;
    shell(&format!("kill -9 {}", guest.monitor_pid));
    let exit = host.exited(&body, &guest).await;
    assert_eq!(exit.signal, Some(9));
    wait_until("the guest is gone", || !alive(guest.init_pid)).await;
    host.run(&body, "sleep 1000").await;
    host.finish().await;
}

#[tokio::test]
async fn signals_reach_the_program() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let guest = host
        .run(
            &body,
            "trap 'exit 5' TERM; touch /ready; while :; do sleep 0.02; done",
        )
        .await;
    while host.exec(&body, "test -e /ready").await.0 != 0 {}
    host.driver
        .signal(body.machine_id, Signal::TERM)
        .await
        .unwrap();
    assert_eq!(host.exited(&body, &guest).await.exit_code, Some(5));
    match host.driver.signal(body.machine_id, Signal::TERM).await {
        Err(DriverError::NotRunning(machine)) => assert_eq!(machine, body.machine_id),
        other => panic!("{other:?}"),
    }
    host.finish().await;
}

#[tokio::test]
async fn a_frozen_machine_keeps_its_memory_and_can_be_killed() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let guest = host
        .run(
            &body,
            "n=0; while :; do n=$((n+1)); echo $n >/n; sleep 0.01; done",
        )
        .await;
    while host.exec(&body, "cat /n").await.1.trim().is_empty() {}
    host.driver.freeze(body.machine_id).await.unwrap();
    let seen = host.driver.observe(body.machine_id).await.unwrap();
    assert_eq!(seen, Observed::Frozen(guest.clone()));
    let used = host.driver.cpu_used_us(body.machine_id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let later = host.driver.cpu_used_us(body.machine_id).await.unwrap();
    assert_eq!(used, later, "nothing ran");
    host.driver.thaw(body.machine_id).await.unwrap();
    let seen = host.driver.observe(body.machine_id).await.unwrap();
    assert_eq!(seen, Observed::Running(guest.clone()));
    let count = |text: String| text.trim().parse::<u64>().unwrap_or(0);
    let before = count(host.exec(&body, "cat /n").await.1);
    while count(host.exec(&body, "cat /n").await.1) <= before {}
    host.driver.freeze(body.machine_id).await.unwrap();
    within("a frozen guest dies", host.driver.kill(body.machine_id))
        .await
        .unwrap();
    assert_eq!(host.exited(&body, &guest).await.signal, Some(9));
    host.finish().await;
}

#[tokio::test]
async fn limits_hold() {
    let host = TestHost::new().await;
    let body = host.body(1);
    // Doubles a string until the kernel says no: 256 MiB are reached within seconds.
    let hungry = host
        .run(&body, "x=0123456789abcdef; while :; do x=$x$x; done")
        .await;
    let exit = host.exited(&body, &hungry).await;
    assert!(exit.oom_killed, "{exit:?}");
    host.driver.clean(body.machine_id).await.unwrap();

    host.run(&body, "sleep 1000").await;
    let many = "i=0; while [ $i -lt 1200 ]; do sleep 100 & i=$((i+1)); done";
    let (_, printed) = host.exec(&body, many).await;
    assert!(printed.contains("fork"), "{printed}");
    host.finish().await;
}

#[tokio::test]
async fn cpu_is_limited_and_counted() {
    let host = TestHost::new().await;
    let body = host.body(1);
    host.run(&body, "while :; do :; done").await;
    let used = async || host.driver.cpu_used_us(body.machine_id).await.unwrap();
    host.driver
        .limit_cpu(body.machine_id, Some(50))
        .await
        .unwrap();
    let (begin, clock) = (used().await, std::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (took, spent) = (used().await - begin, clock.elapsed().as_micros() as u64);
    assert!(took > 0 && took < spent / 5, "{took} of {spent} µs");
    host.driver.limit_cpu(body.machine_id, None).await.unwrap();
    host.finish().await;
}

#[tokio::test]
async fn memory_is_limited_anew_and_taken_back() {
    let host = TestHost::new().await;
    let body = host.body(1);
    host.run(&body, "sleep 1000").await;
    let ask = async |request| host.driver.memory(body.machine_id, request).await;
    let whole = ask(MemoryRequest::Read).await.unwrap();
    assert_eq!(whole.limit_mib, body.size.memory_mib);

    // Files that are written are memory to take back.
    let (_, printed) = host
        .exec(
            &body,
            "dd if=/dev/zero of=/file bs=1M count=40 && sync && echo written",
        )
        .await;
    assert!(printed.contains("written"), "{printed}");
    let taken = ask(MemoryRequest::Reclaim { mib: 20 }).await.unwrap();
    assert!(taken.reclaimed_mib >= 15, "{taken:?}");

    let less = ask(MemoryRequest::Limit { mib: 64 }).await.unwrap();
    assert_eq!(less.limit_mib, 64);
    assert!(
        less.available_mib <= 64 && less.available_mib > 32,
        "{less:?}"
    );
    let hungry = "dd if=/dev/zero of=/dev/null bs=100M count=1; echo ended with $?";
    let (_, printed) = host.exec(&body, hungry).await;
    assert!(!printed.contains("ended with 0"), "{printed}");
    ask(MemoryRequest::Limit { mib: 200 }).await.unwrap();
    let (_, printed) = host.exec(&body, hungry).await;
    assert!(printed.contains("ended with 0"), "{printed}");

    let (_, printed) = host
        .exec(
            &body,
            "dd if=/dev/zero of=/dev/shm/held bs=1M count=48 && echo held",
        )
        .await;
    assert!(printed.contains("held"), "{printed}");
    let refused = ask(MemoryRequest::Limit { mib: 32 }).await.unwrap_err();
    assert!(matches!(refused, DriverError::Guest { .. }), "{refused:?}");
    assert_eq!(ask(MemoryRequest::Read).await.unwrap().limit_mib, 200);
    host.finish().await;
}

#[tokio::test]
async fn the_root_filesystem_is_rebuilt_or_kept() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let marks = async |keep_rootfs| {
        let mut next = launch(&body, "test -e /mark; found=$?; touch /mark; exit $found");
        next.keep_rootfs = keep_rootfs;
        host.driver.provision(&body).await.unwrap();
        let guest = host.driver.launch(&body, &next).await.unwrap();
        host.exited(&body, &guest).await.exit_code == Some(0)
    };
    assert!(!marks(false).await);
    assert!(marks(true).await, "kept");
    assert!(!marks(false).await, "rebuilt");
    let trash = host.data_dir.join("trash");
    wait_until("the old ones are deleted", || {
        std::fs::read_dir(&trash).unwrap().count() == 0
    })
    .await;
    host.finish().await;
}

#[tokio::test]
async fn a_disk_of_limited_size_fills_up() {
    let host = TestHost::new().await;
    let mut body = host.body(1);
    body.rootfs = RootfsSpec {
        size_gib: Some(1),
        ..RootfsSpec::default()
    };
    host.run(&body, "sleep 1000").await;
    let (code, printed) = host
        .exec(&body, "dd if=/dev/zero of=/fill bs=1M count=1100 2>&1")
        .await;
    assert!(code != 0 && printed.contains("No space left"), "{printed}");
    let (code, _) = host.exec(&body, "rm /fill && echo fits >/fits").await;
    assert_eq!(code, 0);
    host.driver.remove(body.machine_id).await.unwrap();
    wait_until("the loop device is released", || {
        host.leftovers().is_empty()
    })
    .await;
    host.finish().await;
}

#[tokio::test]
async fn sessions_carry_input_signals_and_their_end() {
    let host = TestHost::new().await;
    let body = host.body(1);
    let guest = host.run(&body, "sleep 1000").await;
    let program = |script: &str| ExecRequest {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecRequest::default()
    };
    // More than all buffers on the way hold, so back-pressure must work in both directions.
    let mut echo = host
        .driver
        .exec(body.machine_id, program("cat"))
        .await
        .unwrap();
    let total = 3 << 20;
    let typing = async {
        let chunk = bytes::Bytes::from(vec![b'x'; 1 << 16]);
        for _ in 0..total / chunk.len() {
            let sent = echo.input.send(ExecInput::Stdin(chunk.clone())).await;
            sent.unwrap();
        }
        echo.input.send(ExecInput::StdinEnd).await.unwrap();
    };
    let reading = async {
        let mut received = 0;
        while let Some(output) = echo.output.recv().await {
            match output {
                ExecOutput::Stdout(bytes) => received += bytes.len(),
                ExecOutput::Exit(ExecExit::Exited { code: 0 }) => return received,
                other => panic!("{other:?}"),
            }
        }
        panic!("no exit");
    };
    let both = async { tokio::join!(typing, reading) };
    assert_eq!(within("echo ends", both).await.1, total);

    let mut waiting = host
        .driver
        .exec(body.machine_id, program("sleep 1000"))
        .await
        .unwrap();
    let signal = ExecInput::Signal(Signal::KILL);
    waiting.input.send(signal).await.unwrap();
    let ended = within("the session ends", waiting.output.recv()).await;
    assert_eq!(
        ended,
        Some(ExecOutput::Exit(ExecExit::Signaled { signal: 9 }))
    );

    let mut cut = host
        .driver
        .exec(body.machine_id, program("sleep 1000"))
        .await
        .unwrap();
    host.driver.kill(body.machine_id).await.unwrap();
    let end = within("a session of a killed guest ends", cut.output.recv()).await;
    assert!(matches!(end, Some(ExecOutput::Exit(_))), "{end:?}");
    host.exited(&body, &guest).await;
    host.finish().await;
}

#[tokio::test]
async fn processes_are_listed_as_the_machine_sees_them() {
    let host = TestHost::new().await;
    let body = host.body(1);
    host.run(&body, "exec httpd -f -p 0.0.0.0:8080").await;
    wait_until("it listens", || {
        TcpStream::connect_timeout(&(body.ipv4, 8080).into(), Duration::from_secs(1)).is_ok()
    })
    .await;
    let processes = host.driver.ps(body.machine_id).await.unwrap();
    assert_eq!(processes[0].pid, 1);
    let server = processes
        .iter()
        .find(|process| process.command.starts_with("httpd "))
        .unwrap_or_else(|| panic!("{processes:?}"));
    assert!(server.rss > 0 && server.directory == "/");
    assert_eq!(server.listen_sockets[0].address, "0.0.0.0:8080");
    let containers = host.driver.containers(body.machine_id).await.unwrap();
    assert_eq!(containers[0].name, "main");
    host.finish().await;
}

#[tokio::test]
async fn a_launch_that_was_cut_short_is_finished_or_undone() {
    let mut host = TestHost::new().await;
    let (body, other) = (host.body(1), host.body(2));
    for body in [&body, &other] {
        host.driver.provision(body).await.unwrap();
        let started = launch(body, "sleep 1000");
        // Dropped at its first pause that happens to be after the launch file is there.
        let file = host
            .data_dir
            .join(format!("machines/{}/run/launch.json", body.machine_id));
        tokio::select! {
            _ = host.driver.launch(body, &started) => {}
            () = wait_until("launch.json", || file.exists()) => {}
        }
        host.restart().await;
        if body.machine_id == other.machine_id {
            host.driver.kill(body.machine_id).await.unwrap();
            let seen = host.driver.observe(body.machine_id).await.unwrap();
            assert!(!matches!(seen, Observed::Running(_)), "{seen:?}");
            host.driver.remove(body.machine_id).await.unwrap();
        } else {
            let guest = host.driver.launch(body, &started).await.unwrap();
            assert!(alive(guest.init_pid));
        }
    }
    host.driver.remove(body.machine_id).await.unwrap();
    assert_eq!(host.leftovers(), Vec::<String>::new());
    host.finish().await;
}

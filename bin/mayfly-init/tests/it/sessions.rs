//! Exec and attach over the control socket.

use mayfly_guest::{ExecOutcome, Frame, Reply, Request, Window};

use crate::harness::{Machine, command, process, shell, wait_for};

const IDLE: &str = "while :; do sleep 1; done";
const EXITED: ExecOutcome = ExecOutcome::Exited { code: 0 };

fn idle() -> Machine {
    let mut machine = shell(IDLE);
    machine.start();
    machine
}

#[test]
fn streams_and_outcomes() {
    let machine = idle();
    assert_eq!(
        machine.sh("echo out; echo err >&2; exit 3"),
        (
            ExecOutcome::Exited { code: 3 },
            "out\n".into(),
            "err\n".into()
        )
    );
    assert_eq!(
        machine.sh("kill -15 $$").0,
        ExecOutcome::Signaled { signal: 15 }
    );
    let (outcome, ..) = machine.exec(command(&["/nope"])).finish();
    let reason = "exec /nope: no such file or directory".into();
    assert_eq!(outcome, ExecOutcome::Failed { reason });
    let (outcome, ..) = machine.exec(command(&[])).finish();
    assert!(matches!(outcome, ExecOutcome::Failed { .. }));
}

#[test]
fn environment_user_and_directory() {
    let mut machine = shell(IDLE);
    machine.main().processes[0].env = [("A".into(), "1".into()), ("B".into(), "2".into())].into();
    machine.start();
    let mut start = command(&["/bin/sh", "-c", "echo $A $B $HOME; pwd; id -un"]);
    start.env = [("B".into(), "changed".into())].into();
    start.user = Some("app".into());
    start.cwd = Some("/tmp".into());
    let (outcome, output, _) = machine.exec(start).finish();
    assert_eq!(outcome, EXITED);
    assert_eq!(output, "1 changed /home/app\n/tmp\napp\n");
    let mut start = command(&["true"]);
    start.user = Some("nobody".into());
    let (outcome, ..) = machine.exec(start).finish();
    let reason = "user nobody is not in /etc/passwd".into();
    assert_eq!(outcome, ExecOutcome::Failed { reason });
}

#[test]
fn input_is_passed_on_to_its_end() {
    let machine = idle();
    let mut session = machine.exec(command(&["md5sum"]));
    let block = vec![b'x'; 100_000];
    for _ in 0..20 {
        session.send(Frame::Stdin, &block);
    }
    session.send(Frame::StdinEnd, b"");
    let (outcome, output, _) = session.finish();
    assert_eq!(outcome, EXITED);
    let (_, wanted, _) = machine.sh("head -c 2000000 /dev/zero | tr '\\0' x | md5sum");
    assert_eq!(output, wanted);
}

#[test]
fn all_output_comes_before_the_outcome() {
    let machine = idle();
    let (outcome, output, _) = machine.sh("head -c 3000000 /dev/zero | tr '\\0' y");
    assert_eq!(outcome, EXITED);
    assert_eq!(output.len(), 3_000_000);
    // What stays behind in the background does not hold up the end.
    let (outcome, output, _) = machine.sh("sleep 1000 & echo done");
    assert_eq!((outcome, output.as_str()), (EXITED, "done\n"));
}

#[test]
fn a_peer_that_does_not_read_holds_up_nobody_else() {
    let mut machine = shell("i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done");
    machine.start();
    let stuck = machine.exec(command(&["/bin/sh", "-c", "yes"]));
    let (outcome, output, _) = machine.sh("echo through");
    assert_eq!((outcome, output.as_str()), (EXITED, "through\n"));
    let seen = machine.log().len() as u64;
    wait_for("the log goes on", || {
        (machine.log().len() as u64 > seen + 5).then_some(())
    });
    drop(stuck);
    wait_for("the stuck session is killed", || {
        (machine.sh("pidof yes").0 == ExecOutcome::Exited { code: 1 }).then_some(())
    });
}

#[test]
fn closing_the_connection_kills_the_session() {
    let machine = idle();
    let session = machine.exec(command(&["/bin/sh", "-c", "sleep 1234 | sleep 1234"]));
    wait_for("the shell and both sleep", || {
        let (_, output, _) = machine.sh("pidof sleep | wc -w; ps | grep -c 'sleep 123[4]'");

        output.ends_with("3\n").then_some(())
    });
    drop(session);
    wait_for("both are gone", || {
        let (_, output, _) = machine.sh("ps | grep -c 'sleep 123[4]'");
        (output == "0\n").then_some(())
    });
}

#[test]
fn signals_reach_the_session() {
    let machine = idle();
    let mut session = machine.exec(command(&[
        "/bin/sh",
        "-c",
        "trap 'echo got; exit 9' INT; echo ready; while :; do sleep 0.05; done",
    ]));
    session.wait_for("ready");
    session.send(Frame::Signal, &[2]);
    let (outcome, output, _) = session.finish();
    assert_eq!(
        (outcome, output.as_str()),
        (ExecOutcome::Exited { code: 9 }, "got\n")
    );
}

#[test]
fn a_terminal_has_a_size_and_echoes() {
    let machine = idle();
    let mut start = command(&["/bin/sh"]);
    start.tty = Some(Window {
        rows: 33,
        columns: 99,
    });
    let mut session = machine.exec(start);
    session.send(Frame::Stdin, b"stty size; tty; echo $TERM\n");
    let output = session.wait_for("xterm\r\n");
    assert!(output.contains("33 99\r\n"), "{output}");
    assert!(output.contains("/dev/pts/"), "{output}");
    let window = Window {
        rows: 10,
        columns: 20,
    };
    session.send(Frame::Resize, &serde_json::to_vec(&window).unwrap());
    session.send(Frame::Stdin, b"stty size\n");
    session.wait_for("10 20\r\n");
    session.send(Frame::Stdin, b"sh -c 'echo on; sleep 1000'\n");
    session.wait_for("on\r\n");
    session.send(Frame::Stdin, &[3]); // ^C
    session.send(Frame::Stdin, b"exit 6\n");
    let (outcome, ..) = session.finish();
    assert_eq!(outcome, ExecOutcome::Exited { code: 6 });
}

#[test]
fn a_terminals_input_can_end() {
    let machine = idle();
    let mut start = command(&["cat"]);
    start.tty = Some(Window {
        rows: 24,
        columns: 80,
    });
    let mut session = machine.exec(start);
    session.send(Frame::Stdin, b"text\n");
    session.send(Frame::StdinEnd, b"");
    let (outcome, output, _) = session.finish();
    assert_eq!(outcome, EXITED);
    assert!(output.ends_with("text\r\ntext\r\n"), "{output}");
}

#[test]
fn the_main_terminal_can_be_attached() {
    let mut main = process(&[
        "/bin/sh",
        "-c",
        "echo up; read line; echo got $line; exit 5",
    ]);
    main.tty = true;
    let mut machine = Machine::new(main);
    machine.start();
    machine.wait_for_line("up");
    let mut session = machine.connect();
    let request = Request::Attach {
        window: Some(Window {
            rows: 11,
            columns: 22,
        }),
    };
    session.send(Frame::Request, &serde_json::to_vec(&request).unwrap());
    session.send(Frame::Stdin, b"typed\n");
    let (outcome, output, _) = session.finish();
    assert_eq!(outcome, ExecOutcome::Exited { code: 5 });
    assert!(output.contains("got typed"), "{output}");
    assert_eq!(machine.exit().exit_code, Some(5));
    assert!(machine.messages().contains(&"got typed".to_owned()));

    let machine = idle();
    let refused = machine.ask(&Request::Attach { window: None });
    assert!(matches!(refused, Reply::Refused { reason } if reason.contains("no terminal")));
}

#[test]
fn nonsense_ends_only_its_connection() {
    let machine = idle();
    let mut session = machine.connect();
    session.send(Frame::Request, b"{\"dance\":1}");
    let (frame, reply) = session.receive();
    assert_eq!(frame, Frame::Reply);
    assert!(String::from_utf8_lossy(&reply).contains("refused"));
    let mut session = machine.connect();
    session.send(Frame::Stdout, b"no request came before");
    assert!(session.is_closed());
    let mut session = machine.connect();
    session.send_raw(&[1, 0xff, 0xff, 0xff, 0xff]);
    assert!(session.is_closed());
    let long = "x".repeat(200_000);
    let (outcome, ..) = machine.exec(command(&["echo", &long])).finish();
    assert!(matches!(outcome, ExecOutcome::Failed { .. }));
    assert_eq!(machine.sh("true").0, EXITED);
}

#[test]
fn a_machine_that_ends_ends_its_sessions() {
    let machine = idle();
    let mut session = machine.exec(command(&["/bin/sh", "-c", "echo on; sleep 1000"]));
    session.wait_for("on");
    machine.signal(9);
    let (outcome, ..) = session.finish();
    assert_eq!(outcome, ExecOutcome::Signaled { signal: 9 });
    assert_eq!(machine.exit().signal, Some(9));
}

#[test]
fn signal_requests_are_checked() {
    let machine = idle();
    for (signal, container) in [(99, None), (0, None), (15, Some("other".to_owned()))] {
        let reply = machine.ask(&Request::Signal { signal, container });
        assert!(matches!(reply, Reply::Refused { .. }), "{signal}");
    }
}

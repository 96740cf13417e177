//! Behaviour on a terminal: questions are asked, programs get it raw, and it comes back as it was.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use crate::exec::{echo, user};
use crate::runner::User;
use crate::sample::ID;
use crate::server::Server;

/// A terminal, and the end of it that a person sits at.
pub(crate) struct Terminal {
    person: File,
    program: OwnedFd,
}

impl Terminal {
    pub(crate) fn new(rows: u16, columns: u16) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let program = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        let terminal = Self {
            person: File::from(person),
            program,
        };
        terminal.resize(rows, columns);
        terminal
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.program, size).unwrap();
    }

    pub(crate) fn run(&self, user: &User, line: &str) -> Child {
        let end = || Stdio::from(self.program.try_clone().unwrap());
        let mut command = user.command(line.split(' '));
        command.stdin(end()).stdout(end()).stderr(end());
        command.spawn().unwrap()
    }

    /// Reads what the program shows until `wanted` is among it.
    pub(crate) fn read_until(&mut self, wanted: &str) -> String {
        let mut shown = String::new();
        let mut buffer = [0; 4096];
        while !shown.contains(wanted) {
            let length = self.person.read(&mut buffer).unwrap();
            assert!(length > 0, "the terminal closed before {wanted}: {shown}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        shown
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.person.write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn a_yes_goes_ahead_and_anything_else_does_not() {
    let server = Server::start();
    server
        .says("GET /v1/apps/web/volumes", 200, json!([]))
        .says("DELETE /v1/apps/web", 202, "");
    let user = User::of(&server);
    for (answer, asked) in [("n\n", 0), ("\n", 0), ("y\n", 1)] {
        let mut terminal = Terminal::new(24, 80);
        let mut child = terminal.run(&user, "apps destroy web");
        terminal.read_until("Destroy app web? (y/N)");
        terminal.types(answer);
        assert!(child.wait().unwrap().success());
        assert_eq!(server.asked_for("DELETE").len(), asked, "{answer:?}");
    }
}

#[test]
fn a_program_gets_the_terminal_raw_with_its_size_and_gives_it_back() {
    let (url, program) = echo(r#"{"exit":{"code":5}}"#);
    let user = user(&url);
    let mut terminal = Terminal::new(33, 101);
    let before = tcgetattr(&terminal.program).unwrap().local_modes;
    let mut child = terminal.run(&user, &format!("machine exec {ID} --tty"));
    terminal.read_until("hello");
    let raw = tcgetattr(&terminal.program).unwrap().local_modes;
    assert!(!raw.contains(LocalModes::ICANON) && !raw.contains(LocalModes::ECHO));
    // A single key travels at once, Ctrl-C as a byte; both come back from the far end.
    terminal.types("k\u{3}");
    terminal.read_until("k\u{3}");
    terminal.resize(40, 120);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    terminal.read_until("120x40");
    terminal.types("Q");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(tcgetattr(&terminal.program).unwrap().local_modes, before);
    let request = program.join().unwrap();
    assert_eq!(request["command"], json!(["/bin/sh"]));
    assert_eq!(request["tty"], json!({ "rows": 33, "columns": 101 }));
}

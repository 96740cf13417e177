use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use mayfly_conformance::netprobe;

/// What the sockets of a server receive of the attempts.
pub(super) struct HostEar {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl HostEar {
    /// Listens on this server, or on the one whose namespace `server` runs commands in.
    pub(super) fn start(mut server: Command, token: &str, port: u16) -> Self {
        let mut child = server
            .args(["host", token, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(first, "LISTENING");
        Self { child, lines }
    }

    /// What arrived since the last call.
    pub(super) fn heard(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Drop for HostEar {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program on this very server.
pub(super) fn here() -> Command {
    Command::new(netprobe())
}

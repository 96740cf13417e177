//! When the guest has ended: the record of it, and the last words of the sessions.

use std::os::fd::AsFd;
use std::time::Duration;

use mayfly_guest::{ExecOutcome, ExitRecord, Reply};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::Monitor;
use crate::clock::Moment;
use crate::failure::Failure;
use crate::monitor::connection::Kind;
use crate::monitor::failed;
use crate::monitor::records::{self, Status};

/// How long the last words of sessions may take when the machine has ended and is recorded.
const FAREWELL: Duration = Duration::from_secs(2);

const KILLED: i32 = 9;

impl Monitor<'_> {
    /// The init is gone, and with it everything in its pid namespace.
    pub(super) fn finish(&mut self, status: &mut Status) -> Result<(), Failure> {
        let wait = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let killed_by = wait.ok().flatten().and_then(|end| end.terminating_signal());
        while self.take_notice(status)? {}
        for output in &mut self.outputs {
            output.finish(&mut self.chunk, &mut self.log);
        }
        self.look_for_oom(None);
        let out_of_memory = self.ooms_seen > self.ooms_before;
        let record = self.exit_record(killed_by, out_of_memory);
        self.log.sync();
        records::write_exit(self.run_dir, &record)?;
        if let Some(reason) = &record.failure {
            status.failed(reason);
        }
        let outcome = match (record.exit_code, record.signal) {
            (Some(code), _) => ExecOutcome::Exited { code },
            (None, Some(signal)) => ExecOutcome::Signaled { signal },
            (None, None) => ExecOutcome::Failed {
                reason: record.failure.unwrap_or_default(),
            },
        };
        for connection in &mut self.connections {
            match &mut connection.kind {
                Kind::Session(session) if session.outcome.is_none() => {
                    session.outcome = Some(match session.attached {
                        Some(_) => outcome.clone(),
                        None => ExecOutcome::Signaled { signal: KILLED },
                    });
                }
                Kind::Asked => connection.answer(&Reply::Refused {
                    reason: "the machine has ended".to_owned(),
                }),
                _ => {}
            }
        }
        Ok(())
    }

    fn exit_record(&mut self, killed_by: Option<i32>, out_of_memory: bool) -> ExitRecord {
        match self.ended.take() {
            Some((Some(reason), _)) => failed(self.spec, reason),
            Some((None, containers)) => {
                let main = containers.first();
                let exit_code = main.and_then(|main| main.exit_code);
                ExitRecord {
                    exit_code,
                    signal: main.and_then(|main| main.signal),
                    oom_killed: out_of_memory && exit_code != Some(0),
                    failure: None,
                    containers,
                    ..failed(self.spec, String::new())
                }
            }
            // The whole guest was killed from outside.
            None if self.started => {
                let mut record = failed(self.spec, String::new());
                record.failure = None;
                record.signal = killed_by;
                record.oom_killed = out_of_memory;
                for container in &mut record.containers {
                    container.signal = killed_by;
                }
                record
            }
            None => {
                let cause = match (out_of_memory, killed_by) {
                    (true, _) => "out of memory".to_owned(),
                    (false, Some(signal)) => format!("killed by signal {signal}"),
                    (false, None) => "the init gave up".to_owned(),
                };
                let mut record = failed(self.spec, format!("start the machine: {cause}"));
                record.oom_killed = out_of_memory;
                record
            }
        }
    }

    pub(super) fn say_farewell(&mut self) {
        let until = Moment::now().after(FAREWELL);
        loop {
            let turns: Vec<PollFlags> = vec![PollFlags::empty(); self.connections.len()];
            self.serve(&turns);
            self.connections.retain(|connection| {
                !matches!(connection.kind, Kind::New) && !connection.has_said_all()
            });
            if self.connections.is_empty() || Moment::now() >= until {
                return;
            }
            let mut fds: Vec<PollFd<'_>> = self
                .connections
                .iter()
                .map(|connection| PollFd::new(&connection.socket, connection.socket_interest()))
                .collect();
            let _ = poll(&mut fds, Some(&until.wait()));
        }
    }
}

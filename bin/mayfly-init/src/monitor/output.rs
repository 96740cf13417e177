//! The output of one process on its way into the machine's log.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mayfly_logs::{Line, LogLimits, LogWriter, Source};
use rustix::io::Errno;

use super::lines::Lines;
use crate::clock::{Moment, now};
use crate::failure::{Failure, While};

/// Read at once; as much as a pipe holds.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// The log of the machine, as its monitor writes it.
#[derive(Debug)]
pub(crate) struct Log {
    writer: LogWriter,
    /// Names of the containers, if there are several to tell apart.
    containers: Vec<String>,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

impl Log {
    pub(crate) fn open(dir: &std::path::Path, containers: Vec<String>) -> Result<Self, Failure> {
        let writer = LogWriter::open(dir, LogLimits::default()).when("open the machine's log")?;
        Ok(Log {
            writer,
            containers,
            lost: 0,
        })
    }

    /// A line of ours.
    pub(crate) fn say(&mut self, container: Option<usize>, message: &str) {
        self.append(Source::Runner, "", container, &[message.to_owned()]);
    }

    /// A full disk costs the lines, not the machine: they are counted, and the count is written when there is room.
    fn append(
        &mut self,
        source: Source,
        stream: &str,
        container: Option<usize>,
        messages: &[String],
    ) {
        if messages.is_empty() {
            return;
        }
        let at = now();
        let gap = format!("{} lines could not be written", self.lost);
        let line = |source, stream, message| Line {
            at,
            source,
            stream,
            container: container
                .and_then(|index| self.containers.get(index))
                .map(String::as_str),
            message,
        };
        let mut lines = Vec::with_capacity(messages.len() + 1);
        if self.lost > 0 {
            lines.push(line(Source::Runner, "", gap.as_str()));
        }
        lines.extend(
            messages
                .iter()
                .map(|message| line(source, stream, message.as_str())),
        );
        match self.writer.append(&lines) {
            Ok(_) => self.lost = 0,
            Err(_) => self.lost += messages.len() as u64,
        }
    }

    pub(crate) fn sync(&self) {
        // Without it a power cut may take the last lines, as it may at any other moment.
        let _ = self.writer.sync();
    }
}

/// Our end of a pipe, or our side of a terminal.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) source: OwnedFd,
    container: usize,
    stream: &'static str,
    lines: Lines,
    pub(crate) open: bool,
}

impl Output {
    pub(crate) fn new(source: OwnedFd, container: usize, stream: &'static str) -> Self {
        Output {
            source,
            container,
            stream,
            lines: Lines::default(),
            open: true,
        }
    }

    pub(crate) fn container(&self) -> usize {
        self.container
    }

    /// Takes what is there, at most one chunk, and returns its length.
    pub(crate) fn drain(&mut self, chunk: &mut [u8], log: &mut Log) -> usize {
        match rustix::io::read(&self.source, &mut *chunk) {
            Ok(0) => self.open = false,
            Ok(length) => {
                let lines = self.lines.feed(&chunk[..length], Moment::now());
                log.append(Source::App, self.stream, Some(self.container), &lines);
                return length;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal whose other side nobody has open.
            Err(_) => self.open = false,
        }
        0
    }

    pub(crate) fn due(&self) -> Option<Moment> {
        self.lines.due()
    }

    pub(crate) fn flush(&mut self, now: Moment, log: &mut Log) {
        if let Some(line) = self.lines.flush(now) {
            log.append(Source::App, self.stream, Some(self.container), &[line]);
        }
    }

    /// Everything that is still there; nobody writes any more.
    pub(crate) fn finish(&mut self, chunk: &mut [u8], log: &mut Log) {
        while self.open && self.drain(chunk, log) > 0 {}
        if let Some(line) = self.lines.finish() {
            log.append(Source::App, self.stream, Some(self.container), &[line]);
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

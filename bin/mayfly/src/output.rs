//! What people and programs read: answers on stdout, everything about the way there on stderr.

mod progress;
mod prompt;
mod relative_time;
mod table;

use std::io::{self, IsTerminal, Write};

use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

pub(crate) use progress::Progress;
pub(crate) use relative_time::relative_time;
pub(crate) use table::{Table, fields};

/// The two streams and what they are attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Columns of the terminal on stdout; `None` when a program reads it.
    width: Option<usize>,
    styled: bool,
    terminal_in: bool,
    terminal_err: bool,
}

impl Output {
    pub(crate) fn detect() -> Self {
        let terminal_out = io::stdout().is_terminal();
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: (terminal_out && columns > 0).then_some(columns),
            styled: terminal_out && !plain,
            terminal_in: io::stdin().is_terminal(),
            terminal_err: io::stderr().is_terminal(),
        }
    }

    /// Whether somebody can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.terminal_in && self.terminal_err
    }

    /// Whether stdin and stdout are a terminal.
    pub(crate) fn is_interactive(&self) -> bool {
        self.terminal_in && io::stdout().is_terminal()
    }

    /// Writes an answer as it is. A closed pipe comes back as an error, which ends the command quietly.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// A word on the way, for people.
    pub(crate) fn note(&self, line: &str) {
        // Nobody reading our notes is no reason to stop.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// One document, indented as upstream does.
    pub(crate) fn json(&self, document: &Value) -> io::Result<()> {
        let mut bytes = Vec::new();
        let formatter = PrettyFormatter::with_indent(b"    ");
        let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(document, &mut serializer)?;
        bytes.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }

    /// One document per line, for streams.
    pub(crate) fn json_line(&self, document: &Value) -> io::Result<()> {
        self.line(&document.to_string())
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.style(text, "1")
    }

    pub(crate) fn faint(&self, text: &str) -> String {
        self.style(text, "2")
    }

    /// `code` is a parameter of SGR, such as `31` for red.
    pub(crate) fn style(&self, text: &str, code: &str) -> String {
        if self.styled {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

//! Frames on a machine's control socket: a kind byte, a big-endian 32-bit length, that many bytes.
//!
//! The host opens a connection and sends one [`Request`]. For an exec the connection then carries the session's
//! streams; any other request is answered by one [`Reply`]. Neither side trusts the other's lengths: a frame above
//! [`FRAME_MAX`] ends the connection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The longest payload of a frame, in bytes.
pub const FRAME_MAX: usize = 1 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Frame {
    /// JSON of a [`Request`]; host to guest, first and once.
    Request = 1,
    /// JSON of a [`Reply`]; guest to host.
    Reply = 2,
    Stdin = 3,
    /// No more input; empty.
    StdinEnd = 4,
    Stdout = 5,
    Stderr = 6,
    /// JSON of a [`Window`].
    Resize = 7,
    /// One byte: the signal number for the session's process.
    Signal = 8,
    /// JSON of an [`ExecOutcome`]; the last frame of a session.
    Outcome = 9,
}

impl Frame {
    pub fn from_byte(byte: u8) -> Option<Frame> {
        use Frame::*;
        [
            Request, Reply, Stdin, StdinEnd, Stdout, Stderr, Resize, Signal, Outcome,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// The five bytes before the payload.
    ///
    /// # Panics
    /// If `length` exceeds [`FRAME_MAX`]; senders cut their data first.
    pub fn header(self, length: usize) -> [u8; 5] {
        assert!(
            length <= FRAME_MAX,
            "frames are cut to FRAME_MAX before they are sent"
        );
        let [a, b, c, d] = (length as u32).to_be_bytes();
        [self as u8, a, b, c, d]
    }

    /// Reads a header; `None` for an unknown kind or a length above [`FRAME_MAX`].
    pub fn parse_header(header: [u8; 5]) -> Option<(Frame, usize)> {
        let kind = Frame::from_byte(header[0])?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        (length <= FRAME_MAX).then_some((kind, length))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Exec(ExecStart),
    /// Send a signal to the main processes of all containers, or of one.
    Signal {
        signal: i32,
        container: Option<String>,
    },
    /// Which containers are up, for `containers` in the API and for health.
    Containers,
    /// Follow and type into the main process's terminal; the machine must run with `tty`.
    Attach {
        window: Option<Window>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecStart {
    pub argv: Vec<String>,
    /// Added to the environment of the container's first process.
    pub env: BTreeMap<String, String>,
    /// `None` means the container's own user.
    pub user: Option<String>,
    pub cwd: Option<String>,
    pub tty: Option<Window>,
    /// `None` means the main container.
    pub container: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub rows: u16,
    pub columns: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done,
    Refused { reason: String },
    Containers(Vec<ContainerState>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: String,
    /// `waiting`, `running`, `healthy`, `unhealthy`, `exited`.
    pub state: String,
    pub exit_code: Option<i32>,
}

/// How an exec session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecOutcome {
    Exited {
        code: i32,
    },
    Signaled {
        signal: i32,
    },
    /// It never ran.
    Failed {
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back() {
        for kind in 1..=9 {
            let frame = Frame::from_byte(kind).unwrap();
            for length in [0, 1, 255, 65_536, FRAME_MAX] {
                assert_eq!(
                    Frame::parse_header(frame.header(length)),
                    Some((frame, length))
                );
            }
        }
    }

    #[test]
    fn what_is_unknown_or_too_long_is_no_header() {
        for header in [
            [0, 0, 0, 0, 0],
            [10, 0, 0, 0, 0],
            [255, 0, 0, 0, 1],
            [3, 0, 16, 0, 1],
            [3, 255, 255, 255, 255],
        ] {
            assert_eq!(Frame::parse_header(header), None, "{header:?}");
        }
    }
}

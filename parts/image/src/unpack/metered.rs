use std::cell::RefCell;
use std::io::{self, Read};

use mayfly_runtime::Stop;
use mayfly_types::Digest;
use sha2::{Digest as _, Sha256};

use super::UnpackError;
use crate::LayerLimits;

/// Counts and hashes what comes out of a compressed layer, and remembers which limit was passed.
pub(super) struct Meter<'a> {
    limits: &'a LayerLimits,
    ratio_bytes: u64,
    stop: &'a Stop,
    state: RefCell<State>,
}

struct State {
    bytes: u64,
    hash: Sha256,
    verdict: Option<Verdict>,
}

#[derive(Clone, Copy)]
enum Verdict {
    Bytes,
    Ratio,
    Stopped,
}

impl<'a> Meter<'a> {
    pub(super) fn new(limits: &'a LayerLimits, blob_bytes: u64, stop: &'a Stop) -> Self {
        Self {
            limits,
            ratio_bytes: blob_bytes
                .saturating_mul(limits.ratio)
                .max(limits.ratio_free_bytes),
            stop,
            state: RefCell::new(State {
                bytes: 0,
                hash: Sha256::new(),
                verdict: None,
            }),
        }
    }

    /// The limit that ended the reading, if one did.
    pub(super) fn verdict(&self) -> Option<UnpackError> {
        let verdict = self.state.borrow().verdict?;
        Some(match verdict {
            Verdict::Bytes => UnpackError::Bytes(self.limits.bytes),
            Verdict::Ratio => UnpackError::Ratio(self.limits.ratio),
            Verdict::Stopped => UnpackError::Stopped,
        })
    }

    /// The digest of everything read.
    pub(super) fn digest(&self) -> Digest {
        Digest::from_sha256(self.state.borrow().hash.clone().finalize().into())
    }

    fn count(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.bytes = state.bytes.saturating_add(bytes.len() as u64);
        state.verdict = if self.stop.is_cancelled() {
            Some(Verdict::Stopped)
        } else if state.bytes > self.limits.bytes {
            Some(Verdict::Bytes)
        } else if state.bytes > self.ratio_bytes {
            Some(Verdict::Ratio)
        } else {
            None
        };
        if state.verdict.is_some() {
            return Err(io::Error::other("a limit was passed"));
        }
        state.hash.update(bytes);
        Ok(())
    }
}

pub(super) struct Metered<'a, R> {
    input: R,
    meter: &'a Meter<'a>,
    buffer: Box<[u8]>,
    filled: std::ops::Range<usize>,
}

/// Headers are read in blocks of 512 bytes; hashing and decompressing in larger steps costs less.
const STEP: usize = 64 * 1024;

impl<'a, R: Read> Metered<'a, R> {
    pub(super) fn new(input: R, meter: &'a Meter<'a>) -> Self {
        Self {
            input,
            meter,
            buffer: vec![0; STEP].into_boxed_slice(),
            filled: 0..0,
        }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.filled.is_empty() {
            // Large reads go past our buffer.
            if into.len() >= STEP {
                let count = self.input.read(into)?;
                self.meter.count(&into[..count])?;
                return Ok(count);
            }
            let count = self.input.read(&mut self.buffer)?;
            self.meter.count(&self.buffer[..count])?;
            self.filled = 0..count;
        }
        let count = self.filled.len().min(into.len());
        let from = self.filled.start;
        into[..count].copy_from_slice(&self.buffer[from..from + count]);
        self.filled.start += count;
        Ok(count)
    }
}

//! What a person reads when a command fails: the cause, and what to do about it.

use std::fmt;
use std::io;

use crate::client::ApiError;

/// A cause with its remedy, for failures found on this side of the API.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: String,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy: None,
        }
    }

    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Failure {}

/// The text for a failed command, or `None` when nobody is left to read it because the reader of our output went away.
pub(crate) fn describe(error: &anyhow::Error) -> Option<String> {
    if error.chain().any(is_closed_pipe) {
        return None;
    }
    let mut text = format!("Error: {error:#}");
    if let Some(remedy) = error.chain().find_map(remedy_of) {
        text.push_str("\n\n");
        text.push_str(&remedy);
    }
    Some(text)
}

fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        && error.source().is_none()
}

fn remedy_of(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.remedy.clone();
    }
    error.downcast_ref::<ApiError>()?.remedy()
}

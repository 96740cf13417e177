//! The process's log output: one subscriber, set up once by a binary.

use std::io;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What is shown unless somebody asks for something else. boringtun calls it an error when a peer's keys grow old.
const DEFAULT_FILTER: &str = "info,boringtun=off";

/// Sends log lines to standard error. `MAYFLY_LOG` chooses what is shown, in the syntax of `tracing` filters; the
/// default is `info`. A second call does nothing.
pub fn start(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("MAYFLY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

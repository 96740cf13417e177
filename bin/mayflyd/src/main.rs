//! The Mayfly daemon: the control plane, the host supervisor and the edge of one server in one process.

mod config;
mod lock;
mod readiness;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use mayfly_runtime::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::config::{Config, Overrides};
use crate::lock::DataDirLock;
use crate::readiness::Readiness;

#[derive(Debug, Parser)]
#[command(name = "mayflyd", version, about = "The Mayfly daemon")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the cloud of this server in the foreground.
    Run {
        /// Everything this cloud keeps.
        #[arg(long, default_value = "/var/lib/mayfly", env = "MAYFLY_DATA_DIR")]
        data_dir: PathBuf,
        /// Configuration file; <data dir>/config.toml if that exists.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Leave the terminal's session, so that closing it ends nothing.
        #[arg(long, hide = true)]
        own_session: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Run {
            data_dir,
            config,
            own_session,
            overrides,
        } => {
            if own_session {
                // Fails only for the leader of a session, which is what is wanted.
                rustix::process::setsid().ok();
            }
            run(&data_dir, config.as_deref(), &overrides)
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mayflyd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(data_dir: &Path, file: Option<&Path>, overrides: &Overrides) -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "machines need root: run mayflyd as root (it makes namespaces, cgroups and mounts)"
    );
    let data_dir = make_data_dir(data_dir)?;
    let config = Config::load(&data_dir, file, overrides)?;
    telemetry::start(config.log_format);
    let _lock = DataDirLock::take(&data_dir)?;
    info!(version = env!("CARGO_PKG_VERSION"), ?config, "starting");
    let readiness = Readiness::starting(&data_dir)?;
    wait_for_the_end().await?;
    readiness.gone();
    Ok(())
}

/// The directory, absolute and readable by root only: it holds secrets and other users' files.
fn make_data_dir(data_dir: &Path) -> anyhow::Result<PathBuf> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .and_then(|()| data_dir.canonicalize())
        .with_context(|| format!("make the data directory {}", data_dir.display()))
}

async fn wait_for_the_end() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => info!("told to end by SIGTERM"),
        _ = interrupt.recv() => info!("told to end by SIGINT"),
    }
    Ok(())
}

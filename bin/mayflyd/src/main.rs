//! The Mayfly daemon: the control plane, the host supervisor and the edge of one server in one process.

mod addresses;
mod admin_token;
mod autoscale_config;
mod buckets;
mod builder;
mod catalogs;
mod certificates;
mod cloud;
mod config;
mod control_plane;
mod doors;
mod edge_limits;
mod edge_load;
mod fleet;
mod fleet_config;
mod gateways;
mod halt;
mod host_places;
mod images;
mod led_doors;
mod local_registry;
mod lock;
mod mirror_origins;
mod private_names;
mod readiness;
mod registry_config;
mod traffic;
mod tunnels;
mod usage_config;
mod waker;

use std::fs::DirBuilder;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use mayfly_runtime::telemetry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::cloud::{Cloud, Running};
use crate::config::{Config, Overrides};
use crate::lock::DataDirLock;

/// A request of the edge takes and gives back up to two dozen pieces of memory, which costs a third of what it does with
/// the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
use crate::readiness::Readiness;

#[derive(Debug, Parser)]
#[command(name = "mayflyd", version, about = "The Mayfly daemon")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct DataDir {
    /// Everything this cloud keeps.
    #[arg(long, default_value = "/var/lib/mayfly", env = "MAYFLY_DATA_DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the cloud of this server in the foreground. Its machines outlive it.
    Run {
        #[command(flatten)]
        place: DataDir,
        /// Configuration file; <data dir>/config.toml if that exists.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Leave the terminal's session, so that closing it ends nothing.
        #[arg(long, hide = true)]
        own_session: bool,
        #[command(flatten)]
        overrides: Box<Overrides>,
    },
    /// Stop the machines of a cloud whose daemon does not run; prints how many there were.
    Halt {
        #[command(flatten)]
        place: DataDir,
        /// Only if systemd is taking the server down; for its unit, whose end means nothing else to machines.
        #[arg(long)]
        at_shutdown: bool,
    },
    /// Print where the daemon would listen, one address a line, for a service manager that holds the sockets.
    Sockets {
        #[command(flatten)]
        place: DataDir,
    },
    /// Name what this server lacks to run machines.
    CheckHost,
}

fn main() -> ExitCode {
    let inherited = mayfly_sys::take_listen_fds();
    let ended = match Arguments::parse().command {
        Command::Run {
            place,
            config,
            own_session,
            overrides,
        } => {
            if own_session {
                // Fails only for the leader of a session, which is what is wanted.
                rustix::process::setsid().ok();
            }
            run(&place.data_dir, config.as_deref(), &overrides, &inherited)
        }
        Command::Halt {
            at_shutdown: true, ..
        } if !halt::server_goes_down() => Ok(()),
        Command::Halt { place, .. } => halt_machines(&place.data_dir),
        Command::Sockets { place } => print_sockets(&place.data_dir),
        Command::CheckHost => check_host(),
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
async fn run(
    data_dir: &Path,
    file: Option<&Path>,
    overrides: &Overrides,
    inherited: &[TcpListener],
) -> anyhow::Result<()> {
    check_host()?;
    let data_dir = make_data_dir(data_dir)?;
    let config = Config::load(&data_dir, file, overrides)?;
    telemetry::start(config.log_format);
    let _lock = DataDirLock::take(&data_dir)?;
    info!(version = env!("CARGO_PKG_VERSION"), ?config, "starting");
    let mut readiness = Readiness::starting(&data_dir)?;
    for listener in inherited {
        let address = listener.local_addr().context("ask an inherited socket")?;
        if !config.sockets().contains(&address) {
            warn!(%address, "nothing is configured to listen at this inherited socket; run `mayfly install` again");
        }
    }
    // Signals are asked for before anything runs, so that none finds the default action.
    let mut told_to_end = Signals::listen()?;
    let cloud = Cloud::build(&config, inherited, &mut readiness).await?;
    let api_url = cloud
        .api_address()?
        .map(|address| format!("http://{address}"));
    let joined_at = cloud.joined_at();
    let domain = cloud.domain().to_owned();
    let edges = cloud.edges();
    let app_url = format!("http://{{app}}.{}:{}", domain, edges[0].address.port());
    let app_tls_url = format!("https://{{app}}.{}:{}", domain, edges[0].https.port());
    let running = Box::pin(cloud.serve()).await;
    info!(
        api = api_url,
        fleet = joined_at,
        apps = app_url,
        apps_tls = app_tls_url,
        ?edges,
        "serving"
    );
    let mut has_control = running.has_control();
    let waits = !*has_control.borrow();
    let waits_for = waits.then_some("waiting for the control store");
    readiness.ready(api_url, joined_at, app_url, app_tls_url, edges, waits_for)?;
    if waits {
        tokio::select! {
            _ = has_control.wait_for(|present| *present) => readiness.step_done()?,
            () = told_to_end.wait() => return end(running, readiness, &config).await,
        }
    }
    told_to_end.wait().await;
    end(running, readiness, &config).await
}

async fn end(running: Running, mut readiness: Readiness, config: &Config) -> anyhow::Result<()> {
    readiness.stopping();
    let in_time = running.shut_down(config.shutdown_patience).await;
    readiness.gone();
    anyhow::ensure!(
        in_time,
        "not everything ended in time; what was cut off continues at the next start"
    );
    info!("ended; machines run on");
    Ok(())
}

fn print_sockets(data_dir: &Path) -> anyhow::Result<()> {
    let config = Config::load(data_dir, None, &Overrides::default())?;
    for address in config.sockets() {
        println!("{address}");
    }
    Ok(())
}

#[tokio::main]
async fn halt_machines(data_dir: &Path) -> anyhow::Result<()> {
    check_host()?;
    telemetry::start(telemetry::LogFormat::Text);
    let data_dir = data_dir
        .canonicalize()
        .with_context(|| format!("find the data directory {}", data_dir.display()))?;
    println!("{}", halt::halt(&data_dir).await?);
    Ok(())
}

/// Refuses with everything that is missing, not only the first thing.
fn check_host() -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "machines need root: run mayflyd as root (it makes namespaces, cgroups and mounts)"
    );
    let missing = mayfly_driver::missing_features();
    anyhow::ensure!(
        missing.is_empty(),
        "this server cannot run machines; it lacks: {}",
        missing.join("; ")
    );
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

/// What tells the daemon to end. Hanging up the terminal does not.
struct Signals {
    term: Signal,
    interrupt: Signal,
    _hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("listen for {name}"));
        Ok(Self {
            term: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            _hangup: listen(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    async fn wait(&mut self) {
        let name = tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "told to end");
    }
}

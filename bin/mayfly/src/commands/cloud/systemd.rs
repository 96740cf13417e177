//! The daemon as a service of systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::daemon::{DataDir, Found};
use super::{DataDirFlag, program_beside, require_root, tell};
use crate::context::Context;
use crate::failure::Failure;

const UNIT: &str = "mayfly.service";
/// Holds the listening sockets while the daemon is away.
const SOCKETS: &str = "mayfly.socket";

/// Where an operator's own units are.
const UNITS: &str = "/etc/systemd/system";

/// The programs that belong together in one directory.
const PROGRAMS: [&str; 2] = ["mayfly", "mayflyd"];

/// Install the cloud of this server as a systemd service
///
/// Copies the programs, writes the unit, enables and starts it, and signs the command line in. Running it again upgrades:
/// machines run on.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    data_dir: DataDirFlag,
    /// Where the programs are copied to
    #[arg(long, value_name = "DIRECTORY", default_value = "/usr/local/bin")]
    bin_dir: PathBuf,
    /// Also make the names `fly` and `flyctl` for `mayfly`
    #[arg(long)]
    fly_names: bool,
    /// Only print the unit
    #[arg(long)]
    print: bool,
    /// Leave the command line's own configuration as it is
    #[arg(long)]
    no_cli_config: bool,
}

/// The installed service.
pub(super) struct Service;

impl Service {
    /// Where to read what its daemon says.
    pub(super) const LOG: &str = "journalctl -u mayfly.service";

    /// The service, if it is installed and of this data directory.
    pub(super) fn of(data_dir: &Path) -> Option<Service> {
        let unit = fs::read_to_string(Path::new(UNITS).join(UNIT)).ok()?;
        (systemd_runs()
            && unit
                .lines()
                .any(|line| line.ends_with(&data_dir_option(data_dir))))
        .then_some(Service)
    }

    /// Returns once the daemon said that it serves.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        systemctl(&["start", SOCKETS, UNIT])
    }

    /// Ends the daemon, and the sockets too: whoever called there would start it again.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        systemctl(&["stop", SOCKETS, UNIT])
    }
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

pub(crate) async fn install(context: &Context, args: InstallArgs) -> anyhow::Result<()> {
    let absolute =
        |path: &Path| std::path::absolute(path).with_context(|| format!("find {}", path.display()));
    let (bin_dir, data_dir) = (absolute(&args.bin_dir)?, absolute(&args.data_dir.data_dir)?);
    let unit = unit_text(&bin_dir, &data_dir);
    let sockets = sockets_text(&listened_at(&data_dir)?);
    if args.print {
        return Ok(context
            .out
            .text(&format!("# {UNIT}\n{unit}\n# {SOCKETS}\n{sockets}"))?);
    }
    require_root("install the service")?;
    if !systemd_runs() {
        return Err(Failure::new("systemd does not run on this server")
            .remedy("Start the cloud with `mayfly up`, or give `mayfly install --print` to your service manager.")
            .into());
    }
    for name in PROGRAMS {
        put(&program_beside(name)?, &bin_dir.join(name))?;
        context
            .out
            .note(&format!("installed {}", bin_dir.join(name).display()));
    }
    if args.fly_names {
        for name in ["fly", "flyctl"] {
            link(&bin_dir.join(name))?;
        }
    }
    let units = Path::new(UNITS);
    let old_sockets = fs::read_to_string(units.join(SOCKETS)).unwrap_or_default();
    for (name, text) in [(UNIT, &unit), (SOCKETS, &sockets)] {
        let path = units.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        context.out.note(&format!("wrote {}", path.display()));
    }
    let data_dir = DataDir::make(&data_dir)?;
    if let Found::Running(status) = data_dir.find_daemon()?
        && main_process() != Some(status.pid)
    {
        context.out.note(&format!(
            "ending mayflyd (pid {}), which `mayfly up` started; machines run on",
            status.pid
        ));
        data_dir.end_daemon(&status).await?;
    }
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", UNIT, SOCKETS])?;
    if old_sockets != sockets {
        // Other addresses, or none held so far: only a daemon that is away lets them be bound.
        systemctl(&["stop", UNIT, SOCKETS])?;
    }
    systemctl(&["start", SOCKETS])?;
    // `restart` also starts; it returns once the daemon said that it serves.
    systemctl(&["restart", UNIT])?;
    let Found::Running(status) = data_dir.find_daemon()? else {
        return Err(Failure::new(format!("{UNIT} ended right after its start"))
            .remedy(format!("See `{}`.", Service::LOG))
            .into());
    };
    context
        .out
        .note(&format!("{UNIT} runs and starts with the server"));
    tell(
        context,
        &data_dir,
        &status,
        Service::LOG,
        args.no_cli_config,
    )
}

fn data_dir_option(data_dir: &Path) -> String {
    format!(" --data-dir {}", data_dir.display())
}

/// `KillMode=process` is what keeps machines alive when the daemon ends or is upgraded; `Delegate` leaves the cgroups
/// below the service to us; without a start limit it comes back however often it was killed. When the server goes down,
/// machines end by their own rules, the longest of which takes five minutes; a frozen one would make systemd wait in vain.
fn unit_text(bin_dir: &Path, data_dir: &Path) -> String {
    format!(
        "[Unit]\n\
         Description=Mayfly application cloud\n\
         After=network-online.target mayfly.socket\n\
         Wants=network-online.target\n\
         Requires=mayfly.socket\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={bin}/mayflyd run{data}\n\
         # Machines outlive the daemon: only its own process is ended, unless the server goes down.\n\
         KillMode=process\n\
         ExecStopPost={bin}/mayflyd halt --at-shutdown{data}\n\
         TimeoutStopSec=330\n\
         Delegate=yes\n\
         Restart=always\n\
         RestartSec=1\n\
         TimeoutStartSec=300\n\
         LimitNOFILE=1048576\n\
         TasksMax=infinity\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        bin = bin_dir.display(),
        data = data_dir_option(data_dir)
    )
}

/// What the daemon would listen at, by its configuration.
fn listened_at(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(program_beside("mayflyd")?)
        .args(["sockets", "--data-dir"])
        .arg(data_dir)
        .output()
        .context("run mayflyd sockets")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::new(format!("the configuration cannot be used: {said}")).into());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().map(str::to_owned).collect())
}

/// systemd keeps these open whatever becomes of the daemon: connections wait for its successor instead of being refused.
fn sockets_text(addresses: &[String]) -> String {
    let streams: String = addresses
        .iter()
        .map(|address| format!("ListenStream={address}\n"))
        .collect();
    format!(
        "[Unit]\n\
         Description=Where the Mayfly application cloud listens\n\
         \n\
         [Socket]\n\
         {streams}\
         Backlog=4096\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n"
    )
}

/// Replaces a program that may be running: its old file lives on until the last process of it ends.
fn put(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from == to {
        return Ok(());
    }
    let draft = to.with_extension("new");
    fs::copy(from, &draft)
        .and_then(|_| fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&draft, to))
        .with_context(|| format!("install {}", to.display()))
}

fn link(path: &Path) -> anyhow::Result<()> {
    if path.exists() && !path.is_symlink() {
        return Err(
            Failure::new(format!("{} exists and is not ours", path.display()))
                .remedy("Remove it, or leave out --fly-names.")
                .into(),
        );
    }
    fs::remove_file(path).ok();
    std::os::unix::fs::symlink("mayfly", path).with_context(|| format!("make {}", path.display()))
}

/// The process of the service's daemon, if it runs.
fn main_process() -> Option<i32> {
    let output = Command::new("systemctl")
        .args(["show", "--property=MainPID", "--value", UNIT])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().ok().filter(|pid| *pid != 0)
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let shown = arguments.join(" ");
    let status = Command::new("systemctl")
        .args(arguments)
        .status()
        .with_context(|| format!("run systemctl {shown}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("systemctl {shown} failed"))
        .remedy(format!("See `{}`.", Service::LOG))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_leaves_machines_alone() {
        let unit = unit_text(Path::new("/opt/bin"), Path::new("/data"));
        assert!(unit.contains("\nExecStart=/opt/bin/mayflyd run --data-dir /data\n"));
        assert!(unit.contains("\nKillMode=process\n"));
        assert!(
            unit.contains("\nExecStopPost=/opt/bin/mayflyd halt --at-shutdown --data-dir /data\n")
        );
        assert!(unit.contains("\nDelegate=yes\n"));
    }

    #[test]
    fn sockets_outlive_the_daemon() {
        let unit = unit_text(Path::new("/opt/bin"), Path::new("/data"));
        assert!(unit.contains("\nRequires=mayfly.socket\n"));
        let sockets = sockets_text(&["127.0.0.1:4280".to_owned(), "[::]:443".to_owned()]);
        assert!(sockets.contains("\nListenStream=127.0.0.1:4280\nListenStream=[::]:443\n"));
    }

    #[test]
    fn a_foreign_fly_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fly");
        link(&path).unwrap();
        link(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other").unwrap();
        assert!(link(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    }
}

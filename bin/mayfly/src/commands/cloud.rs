//! The cloud of this server: `up`, `down`, `install`, and what runs here.

mod daemon;
mod export;
mod systemd;
mod temporary;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use mayfly_types::Secret;

use crate::context::Context;
use crate::failure::Failure;
use daemon::{DataDir, Found, Status};
use export::Exports;
use systemd::Service;
pub(crate) use systemd::{InstallArgs, install};

/// Where a cloud of this server keeps everything.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DataDirFlag {
    /// Directory with everything this cloud keeps
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/var/lib/mayfly",
        env = "MAYFLY_DATA_DIR"
    )]
    data_dir: PathBuf,
}

/// Start the cloud of this server
///
/// Starts mayflyd in the background and waits until it serves. The first start creates a user, an organization and a
/// token, and signs the command line in.
///
/// With --temporary it is a cloud for tests: in a directory of its own, on free ports, beside others. A command behind --
/// finds it by FLY_API_TOKEN, FLY_API_BASE_URL and FLY_FLAPS_BASE_URL; when it ends, nothing stays. Without a command these
/// variables are printed for the shell, and `down --remove` ends it.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  up\n  up --regions iad,fra\n  up --temporary -- npm test\n  eval \"$(mayfly up --temporary)\"\n  \
                  up --export \"$GITHUB_ENV\""
)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    data_dir: DataDirFlag,
    /// Configuration file instead of config.toml in the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Region that this server's machines report
    #[arg(long, value_name = "CODE")]
    region: Option<String>,
    /// Several regions on this server, each with its own host and edge; the first is the default
    #[arg(
        long,
        value_name = "CODE,CODE…",
        value_delimiter = ',',
        conflicts_with = "region"
    )]
    regions: Vec<String>,
    /// Let requests between regions take as long as they would on the map
    #[arg(long)]
    emulate_latency: bool,
    /// Where the Machines API listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    api_listen: Option<String>,
    /// Where requests for apps arrive
    #[arg(long, value_name = "ADDRESS:PORT")]
    http_listen: Option<String>,
    /// Where requests for apps arrive over TLS
    #[arg(long, value_name = "ADDRESS:PORT")]
    https_listen: Option<String>,
    /// Apps are reached as APP.DOMAIN
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Where this server answers other servers of its cloud: TCP, and UDP for the tunnels between machines
    #[arg(long, value_name = "ADDRESS:PORT")]
    fleet_listen: Option<String>,
    /// Where other servers reach this one, if that is another address
    #[arg(long, value_name = "ADDRESS:PORT")]
    fleet_advertise: Option<String>,
    /// Join the cloud whose first server answers there, instead of starting one
    #[arg(long, value_name = "ADDRESS:PORT")]
    join: Option<String>,
    /// What `mayfly hosts token` printed on the first server; needed the first time only
    #[arg(
        long,
        value_name = "TOKEN",
        env = "MAYFLY_JOIN_TOKEN",
        hide_env_values = true,
        value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Secret::new(text))
    )]
    join_token: Option<Secret>,
    /// Leave the command line's own configuration as it is
    #[arg(long)]
    no_cli_config: bool,
    /// Append what programs need to find the cloud to this file, as lines NAME=VALUE
    #[arg(long, value_name = "FILE", conflicts_with = "join")]
    export: Option<PathBuf>,
    /// A cloud for tests, in a directory of its own that `down --remove` takes away
    #[arg(long, conflicts_with = "join")]
    temporary: bool,
    /// With --temporary: a command that finds the cloud by variables; when it ends, the cloud is removed
    #[arg(last = true, requires = "temporary", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Stop the cloud of this server
///
/// Stops its machines and then nothing of it runs any more; everything it keeps stays, and the next `up` starts the
/// machines that ran. With --keep-machines only the daemon ends.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    data_dir: DataDirFlag,
    /// End the daemon only; machines run on and keep their connections
    #[arg(long, conflicts_with = "remove")]
    keep_machines: bool,
    /// Then remove the data directory with everything in it
    #[arg(long)]
    remove: bool,
}

impl UpArgs {
    /// The options that mayflyd takes as they are.
    fn daemon_options(&self) -> Vec<OsString> {
        // Beside other clouds the usual ports are taken.
        let listen = |address: &Option<String>| match (address, self.temporary) {
            (None, true) => Some("127.0.0.1:0".into()),
            (address, _) => address.clone().map(Into::into),
        };
        let mut options: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                options.extend([name.into(), value]);
            }
        };
        add("--config", self.config.clone().map(Into::into));
        add("--region", self.region.clone().map(Into::into));
        let regions = (!self.regions.is_empty()).then(|| self.regions.join(","));
        add("--regions", regions.map(Into::into));
        add("--api-listen", listen(&self.api_listen));
        add("--http-listen", listen(&self.http_listen));
        add("--https-listen", listen(&self.https_listen));
        add("--domain", self.domain.clone().map(Into::into));
        add("--fleet-listen", self.fleet_listen.clone().map(Into::into));
        add(
            "--fleet-advertise",
            self.fleet_advertise.clone().map(Into::into),
        );
        add("--join", self.join.clone().map(Into::into));
        if self.emulate_latency {
            options.push("--emulate-latency".into());
        }
        options
    }
}

pub(crate) async fn up(context: &Context, args: UpArgs) -> anyhow::Result<ExitCode> {
    require_root("start a cloud")?;
    if args.temporary {
        return up_temporarily(context, args).await;
    }
    up_to_stay(context, args).await?;
    Ok(ExitCode::SUCCESS)
}

async fn up_temporarily(context: &Context, args: UpArgs) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::make(&temporary::directory()?)?;
    let options = args.daemon_options();
    let say = |step: &str| context.out.note(step);
    let status = data_dir.start_daemon(&options, None, say).await?;
    let told = Exports::of(&data_dir, &status).and_then(|exports| {
        hand_out(context, &exports, args.export.as_deref())?;
        Ok(exports)
    });
    let exports = match told {
        Ok(exports) => exports,
        // Nobody would find it.
        Err(error) => {
            temporary::remove(&data_dir).await?;
            return Err(error);
        }
    };
    if !args.command.is_empty() {
        let ended = temporary::run(&args.command, &exports).await;
        context.out.note("removing the temporary cloud …");
        temporary::remove(&data_dir).await?;
        return ended;
    }
    let log = data_dir.log_path().display().to_string();
    let signed_in = "left as it is (--temporary)";
    let welcome = welcome(context, &data_dir, &status, signed_in, &log);
    context.out.note(&welcome);
    if args.export.is_none() {
        context.out.text(&exports.shell())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the variables where they were asked for.
fn hand_out(
    context: &Context,
    exports: &Exports,
    file: Option<&std::path::Path>,
) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    exports.append_to(file)?;
    if let Some(mask) = exports.mask(std::env::var_os("GITHUB_ACTIONS").as_deref()) {
        context.out.line(&mask)?;
    }
    Ok(())
}

/// The same, if it was asked for, for a cloud that stays.
fn hand_out_of(
    context: &Context,
    data_dir: &DataDir,
    status: &Status,
    file: Option<&std::path::Path>,
) -> anyhow::Result<()> {
    if file.is_none() {
        return Ok(());
    }
    hand_out(context, &Exports::of(data_dir, status)?, file)
}

async fn up_to_stay(context: &Context, args: UpArgs) -> anyhow::Result<()> {
    let data_dir = DataDir::make(&args.data_dir.data_dir)?;
    if let Found::Running(status) = data_dir.find_daemon()? {
        hand_out_of(context, &data_dir, &status, args.export.as_deref())?;
        context.out.line(&format!(
            "Mayfly runs already on {} (pid {}): {}",
            data_dir.shown(),
            status.pid,
            status.place().unwrap_or("still starting")
        ))?;
        return Ok(());
    }
    let options = args.daemon_options();
    if let Some(service) = Service::of(data_dir.path()) {
        if !options.is_empty() || args.join_token.is_some() {
            return Err(Failure::new(format!(
                "the cloud of {} is a service, which takes no options from here",
                data_dir.shown()
            ))
            .remedy("Write them into config.toml of the data directory and run `mayfly install`.")
            .into());
        }
        service.start()?;
        let Found::Running(status) = data_dir.find_daemon()? else {
            return Err(Failure::new("the service ended right after its start")
                .remedy(format!("See `{}`.", Service::LOG))
                .into());
        };
        hand_out_of(context, &data_dir, &status, args.export.as_deref())?;
        return tell(
            context,
            &data_dir,
            &status,
            Service::LOG,
            args.no_cli_config,
        );
    }
    let status = data_dir
        .start_daemon(&options, args.join_token.as_ref(), |step| {
            context.out.note(step)
        })
        .await?;
    let log = data_dir.log_path().display().to_string();
    hand_out_of(context, &data_dir, &status, args.export.as_deref())?;
    tell(context, &data_dir, &status, &log, args.no_cli_config)
}

/// Signs the command line in and says what runs where. `log` is where the daemon's own words are.
fn tell(
    context: &Context,
    data_dir: &DataDir,
    status: &Status,
    log: &str,
    no_cli_config: bool,
) -> anyhow::Result<()> {
    if let Some(joined_at) = &status.joined_at {
        return Ok(context
            .out
            .text(&joined(context, data_dir, status, joined_at, log))?);
    }
    let signed_in = if no_cli_config {
        "left as it is (--no-cli-config)".to_owned()
    } else {
        sign_in(context, data_dir, status)?
    };
    context
        .out
        .text(&welcome(context, data_dir, status, &signed_in, log))?;
    Ok(())
}

/// Points the command line at this cloud, as its first user.
fn sign_in(context: &Context, data_dir: &DataDir, status: &Status) -> anyhow::Result<String> {
    let token = data_dir.admin_token()?;
    let url = status.api_url.as_deref().unwrap_or_default();
    let mut config = context.config_file()?;
    config.set("access_token", Secret::reveal(&token));
    for key in ["api_base_url", "flaps_base_url"] {
        config.set(key, url);
    }
    config.save()?;
    Ok("signed in as the first user".to_owned())
}

/// Of a server without an API of its own.
fn joined(
    context: &Context,
    data_dir: &DataDir,
    status: &Status,
    joined_at: &str,
    log: &str,
) -> String {
    let title = context
        .out
        .bold(&format!("Mayfly is up (pid {}).", status.pid));
    let app = |url: &Option<String>| url.as_deref().unwrap_or_default().replace("{app}", "<app>");
    format!(
        "{title}\n  \
         Cloud    joined at {joined_at}\n  \
         Apps     {}\n  \
         TLS      {}\n  \
         Data     {}\n  \
         Log      {log}\n\n\
         Its API is on the first server: `mayfly hosts list` there shows this one.\n",
        app(&status.app_url),
        app(&status.app_tls_url),
        data_dir.shown(),
    )
}

fn welcome(
    context: &Context,
    data_dir: &DataDir,
    status: &Status,
    signed_in: &str,
    log: &str,
) -> String {
    let app_url =
        |url: &Option<String>, app: &str| url.as_deref().unwrap_or_default().replace("{app}", app);
    let title = context
        .out
        .bold(&format!("Mayfly is up (pid {}).", status.pid));
    let edges = match status.edges.as_slice() {
        [] | [_] => String::new(),
        edges => {
            let each = edges
                .iter()
                .map(|(region, address)| format!("{region} {address}"));
            format!("Regions  {}\n  ", each.collect::<Vec<_>>().join(", "))
        }
    };
    let waits = match &status.step {
        Some(step) => format!("The API is {step} and refuses calls until then.\n  "),
        None => String::new(),
    };
    format!(
        "{title}\n  \
         {waits}\
         API      {}\n  \
         Apps     {}\n  \
         TLS      {}\n  \
         {edges}\
         Data     {}\n  \
         Log      {log}\n  \
         mayfly   {signed_in}\n\n\
         Next, for example:\n  \
         mayfly apps create my-app\n  \
         mayfly machine run <image> --app my-app\n  \
         curl {}\n",
        status.api_url.as_deref().unwrap_or_default(),
        app_url(&status.app_url, "<app>"),
        app_url(&status.app_tls_url, "<app>"),
        data_dir.shown(),
        app_url(&status.app_url, "my-app"),
    )
}

pub(crate) async fn down(context: &Context, args: DownArgs) -> anyhow::Result<()> {
    require_root("stop a cloud")?;
    let data_dir = DataDir::existing(&args.data_dir.data_dir)?;
    let found = data_dir.find_daemon()?;
    let ended = if let Found::Running(status) = &found {
        let pid = status.pid;
        context.out.note(&format!("ending mayflyd (pid {pid}) …"));
        true
    } else {
        false
    };
    // systemd would start another one, whether this one lives or is between two starts.
    if let Some(service) = Service::of(data_dir.path()) {
        service.stop()?;
    }
    if let Found::Running(status) = data_dir.find_daemon()? {
        data_dir.end_daemon(&status).await?;
    }
    if args.keep_machines {
        context.out.line(if ended {
            "Mayfly is down; its machines run on."
        } else {
            "Mayfly does not run here."
        })?;
        return Ok(());
    }
    let halted = data_dir.halt_machines().await?;
    if args.remove {
        temporary::remove_directory(data_dir.path())?;
        let line = format!("Mayfly is down, and {} is removed.", data_dir.shown());
        return Ok(context.out.line(&line)?);
    }
    context.out.line(match (ended, halted) {
        (false, 0) => "Mayfly does not run here.".to_owned(),
        (_, 0) => "Mayfly is down.".to_owned(),
        (_, 1) => "Mayfly is down; one machine was stopped and starts again with the next `mayfly up`.".to_owned(),
        (_, count) => format!(
            "Mayfly is down; {count} machines were stopped and start again with the next `mayfly up`."
        ),
    }.as_str())?;
    Ok(())
}

fn require_root(wanted: &str) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(format!("to {wanted} you must be root"))
        .remedy("Machines need namespaces, cgroups and mounts: run this command with sudo.")
        .into())
}

/// The program `name` beside this one, where the build and the installation put it.
fn program_beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()
        .and_then(|path| path.canonicalize())
        .context("find the directory of this program")?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(
        Failure::new(format!("there is no {name} beside {}", own.display()))
            .remedy("Build all programs with `./dev up`, or install them into one directory.")
            .into(),
    )
}

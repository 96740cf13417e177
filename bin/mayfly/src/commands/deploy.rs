//! `deploy`: what an app shall be, built if need be, recorded in the cloud, and followed until it is.

mod accepted;
mod addresses;
mod build;
mod files;
mod follow;
mod local;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgAction, Args, Subcommand};
use mayfly_appconfig::AppConfig;
use mayfly_wire::{CreateRelease, GoDuration};
use serde_json::Value;

use crate::context::{AppFlags, Context};
use crate::failure::Failure;
use crate::machine_config::{SizeFlags, variables};

use accepted::AcceptedFlags;
pub(super) use addresses::AddressFlags;
use build::BuildFlags;
use files::FileFlags;
pub(super) use follow::{follow, follow_recorded};

/// The longest the cloud lets a release command run.
const RELEASE_COMMAND_MAX: Duration = Duration::from_secs(24 * 3600);

/// So far back the configuration that is live is looked for.
const RELEASES_LOOKED_AT: usize = 100;

/// Sources with a Dockerfile are built first, in a machine of the cloud; Ctrl-C calls that off.
///
/// The cloud carries a deployment out by itself: a lost connection or Ctrl-C changes nothing. `deploy attach` follows it
/// again.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  deploy\n  deploy --image registry.example/web:2\n  deploy --image registry.example/web:2 --region iad,lhr\n  deploy --build-arg VERSION=7 --strategy bluegreen --wait-timeout 2m\n  \
                  deploy --detach && deploy attach"
)]
pub(crate) struct Deploy {
    #[command(subcommand)]
    command: Option<DeployCommand>,
    #[command(flatten)]
    flags: DeployFlags,
}

#[derive(Subcommand, Debug)]
enum DeployCommand {
    /// Follow a deployment that is under way
    Attach(Attach),
    /// Stop a deployment; machines stay as they are at that moment
    Cancel(Cancel),
}

#[derive(Args, Debug)]
struct Attach {
    /// The release to follow; the newest without it
    version: Option<i64>,
    #[command(flatten)]
    app: AppFlags,
}

#[derive(Args, Debug)]
struct Cancel {
    /// The release to stop; the newest without it
    version: Option<i64>,
    #[command(flatten)]
    app: AppFlags,
}

#[derive(Args, Debug, Default)]
struct DeployFlags {
    #[command(flatten)]
    app: AppFlags,
    /// Directory of the app's sources and configuration
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// The image to deploy; nothing is built
    #[arg(short, long, value_name = "IMAGE")]
    image: Option<String>,
    /// Set a variable of all machines; may be given more than once
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// rolling, immediate, canary or bluegreen
    #[arg(long)]
    strategy: Option<String>,
    /// How many machines may be down at once: a count, or a share below 1
    #[arg(long, value_name = "NUMBER")]
    max_unavailable: Option<f64>,
    /// How many machines may be changed at once, whatever the strategy allows
    #[arg(long, alias = "immediate-max-concurrent", value_name = "COUNT")]
    max_concurrent: Option<u32>,
    /// Stop machines that bluegreen replaces with this signal, instead of their own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// How long each machine may take to be up, as 2m or a number of seconds
    #[arg(long, value_name = "DURATION")]
    wait_timeout: Option<String>,
    /// How long the release command may take; none: a day
    #[arg(long, value_name = "DURATION")]
    release_command_timeout: Option<String>,
    /// Do not run the release command
    #[arg(long)]
    skip_release_command: bool,
    /// Watch machines without checks for crashes
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    smoke_checks: bool,
    /// Give groups that have no machine yet a second one, or a standby
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ha: bool,
    /// Make no new machines
    #[arg(long)]
    update_only: bool,
    /// Have machines here at least: the first of a new app, and one of each group where it has none
    #[arg(
        short,
        long,
        value_delimiter = ',',
        value_name = "CODES",
        conflicts_with_all = ["update_only", "only_machines"]
    )]
    region: Vec<String>,
    /// The app's primary region, instead of the configuration's
    #[arg(long, value_name = "CODE")]
    primary_region: Option<String>,
    /// Only machines in these regions
    #[arg(
        long,
        alias = "only-regions",
        value_delimiter = ',',
        value_name = "REGIONS"
    )]
    regions: Vec<String>,
    /// Not the machines in these regions
    #[arg(long, value_delimiter = ',', value_name = "REGIONS")]
    exclude_regions: Vec<String>,
    /// Only these machines
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    only_machines: Vec<String>,
    /// Not these machines
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    exclude_machines: Vec<String>,
    /// Only machines of these process groups
    #[arg(long, value_delimiter = ',', value_name = "GROUPS")]
    process_groups: Vec<String>,
    /// Size of the volumes that the first deployment makes, in GB, instead of the configuration's
    #[arg(long, value_name = "GB")]
    volume_initial_size: Option<i64>,
    /// Return once the release is recorded
    #[arg(long)]
    detach: bool,
    /// Words for the list of releases
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Run machines on the hosts reserved under this id
    #[arg(long, value_name = "ID", hide = true)]
    host_dedication_id: Option<String>,
    /// Answer yes to all questions
    #[arg(short, long, alias = "auto-confirm")]
    yes: bool,
    #[command(flatten)]
    size: SizeFlags,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    build: BuildFlags,
    #[command(flatten)]
    addresses: AddressFlags,
    #[command(flatten)]
    accepted: AcceptedFlags,
}

impl Deploy {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.command {
            None => self.flags.run(context).await,
            Some(DeployCommand::Attach(attach)) => {
                let app = attach.app.require()?;
                let version = existing(context, &app, attach.version).await?;
                follow(context, &app, version, 0).await
            }
            Some(DeployCommand::Cancel(cancel)) => {
                let app = cancel.app.require()?;
                let version = existing(context, &app, cancel.version).await?;
                let release = context.api()?.cancel_release(&app, version).await?;
                context.out.line(&format!(
                    "Release v{} is {}",
                    release.version, release.status
                ))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl DeployFlags {
    async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if let Some(directory) = &self.directory {
            std::env::set_current_dir(directory)
                .with_context(|| format!("enter {}", directory.display()))?;
        }
        let app = self.app.require()?;
        let config = self.configuration(context, &app).await?;
        for note in self.accepted.notes() {
            context.out.note(note);
        }
        let api = context.api()?;
        let about = api.app(&app).await?;
        let image = match &self.image {
            Some(image) => Some(image.clone()),
            None => match self.built(context, &app, config.as_ref()).await? {
                Image::Named(image) => image,
                Image::BuiltOnly => return Ok(ExitCode::SUCCESS),
            },
        };
        let list = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        let wanted = CreateRelease {
            config: config.as_ref().map(AppConfig::to_value),
            image,
            strategy: self.strategy.clone(),
            max_unavailable: self.max_unavailable,
            wait_timeout: duration("--wait-timeout", self.wait_timeout.as_deref())?,
            max_concurrent: self.max_concurrent.map(i64::from),
            stop_signal: self.signal.clone(),
            release_command_timeout: match self.release_command_timeout.as_deref() {
                Some("none") => Some(GoDuration(RELEASE_COMMAND_MAX)),
                given => duration("--release-command-timeout", given)?,
            },
            skip_release_command: Some(true).filter(|_| self.skip_release_command),
            smoke_checks: Some(self.smoke_checks),
            ha: Some(self.ha),
            update_only: Some(true).filter(|_| self.update_only),
            regions: list(&self.region),
            only_regions: list(&self.regions),
            exclude_regions: list(&self.exclude_regions),
            only_machines: list(&self.only_machines),
            exclude_machines: list(&self.exclude_machines),
            process_groups: list(&self.process_groups),
            guest: self.size.guest()?,
            volume_initial_size: self.volume_initial_size,
            description: self.description.clone(),
            ..CreateRelease::default()
        };
        let serves = config.as_ref().is_none_or(AppConfig::serves);
        let is_first = api.releases(&app, 1).await?.is_empty();
        self.addresses
            .allocate(context, &app, serves && is_first)
            .await?;
        if let Some(config) = config.as_ref().filter(|_| is_first && self.ha) {
            note_lone_machines(context, config);
        }
        let release = api.create_release(&app, &wanted).await?;
        context.out.note(&format!(
            "Release v{} of {app} is recorded",
            release.version
        ));
        if self.detach {
            context.out.line(&format!("v{}", release.version))?;
            return Ok(ExitCode::SUCCESS);
        }
        let seen = release.events_after.unwrap_or(0);
        let end = follow(context, &app, release.version, seen).await?;
        if let Some(url) = about.url().filter(|_| serves && end == ExitCode::SUCCESS) {
            let line = format!("Visit your newly deployed app at {url}");
            context.out.note(&line);
        }
        Ok(end)
    }

    /// The configuration here, with what flags change about it. Where there is none, they change that of the release
    /// before.
    async fn configuration(
        &self,
        context: &Context,
        app: &str,
    ) -> anyhow::Result<Option<AppConfig>> {
        let local = local::configuration(context, &self.app)?;
        let changes = !self.env.is_empty()
            || self.primary_region.is_some()
            || self.host_dedication_id.is_some()
            || !self.files.is_empty();
        if !changes {
            return Ok(local);
        }
        let mut config = match local {
            Some(local) => local,
            None => recorded(context, app).await?,
        };
        if !self.env.is_empty() {
            let env = config.env.get_or_insert_default();
            env.extend(variables(&self.env)?);
        }
        if let Some(primary) = &self.primary_region {
            config.primary_region = Some(primary.clone());
        }
        if let Some(id) = &self.host_dedication_id {
            config.host_dedication_id = Some(id.clone());
        }
        self.files.apply(&mut config)?;
        Ok(Some(config))
    }
}

/// A second machine would not see what the first one writes, so there is none unless somebody asks for it.
fn note_lone_machines(context: &Context, config: &AppConfig) {
    let groups = config.groups().into_iter();
    for group in groups.filter(|group| config.mount(group).is_some()) {
        context.out.note(&format!(
            "Note: group {group} has a volume and begins with one machine; while that is down, the group is. `scale count \
             {group}=2` adds a machine with a volume of its own.",
        ));
    }
}

/// The configuration that is live.
async fn recorded(context: &Context, app: &str) -> anyhow::Result<AppConfig> {
    let api = context.api()?;
    let releases = api.releases(app, RELEASES_LOOKED_AT).await?;
    let live = releases.iter().find(|release| release.status == "complete");
    let config = match live {
        Some(live) => api.release(app, live.version).await?.config,
        None => None,
    };
    let config = config.and_then(|config| AppConfig::from_value(&config).ok());
    config.ok_or_else(|| {
        Failure::new("there is no fly.toml here, and no release has a configuration to change")
            .remedy("Write one with `config save`, or go where it is.")
            .into()
    })
}

/// What a build leaves to be deployed.
enum Image {
    /// `None` leaves it to the configuration and earlier releases.
    Named(Option<String>),
    BuiltOnly,
}

impl DeployFlags {
    /// Builds the sources, if they are what is deployed.
    async fn built(
        &self,
        context: &Context,
        app: &str,
        config: Option<&AppConfig>,
    ) -> anyhow::Result<Image> {
        let configured = config.and_then(|config| config.build.as_ref()?.image.as_ref());
        if configured.is_some() && !self.build.wants_build() {
            return Ok(Image::Named(None));
        }
        let local = self.app.local_config()?;
        let directory = local
            .as_ref()
            .map_or(Path::new("."), |local| local.directory());
        let built = build::build(context, app, &self.build, config, directory).await?;
        match built {
            None if self.build.wants_build() => Err(build::nothing_to_build()),
            None => Ok(Image::Named(None)),
            Some(built) => {
                if let Some(image) = &built.image {
                    context.out.line(&format!("image: {image}"))?;
                }
                match self.build.build_only {
                    true => Ok(Image::BuiltOnly),
                    false => Ok(Image::Named(built.image)),
                }
            }
        }
    }
}

/// Deploys an app whose configuration lies at `config` and follows it; without an image its sources are built.
pub(super) async fn deploy_launched(
    context: &Context,
    app: String,
    config: PathBuf,
    image: Option<String>,
    ha: bool,
    addresses: AddressFlags,
) -> anyhow::Result<ExitCode> {
    let flags = DeployFlags {
        app: AppFlags {
            app: Some(app),
            config: Some(config),
        },
        image,
        smoke_checks: true,
        ha,
        addresses,
        ..DeployFlags::default()
    };
    flags.run(context).await
}

/// The version of the release asked for, once it is known to exist.
async fn existing(context: &Context, app: &str, version: Option<i64>) -> anyhow::Result<i64> {
    let api = context.api()?;
    if let Some(version) = version {
        return Ok(api.release(app, version).await?.version);
    }
    let releases = api.releases(app, 1).await?;
    let newest = releases.first().map(|release| release.version);
    newest.ok_or_else(|| Failure::new(format!("app {app} has no releases yet")).into())
}

/// `2m30s`, or a number of seconds.
pub(super) fn duration(flag: &str, text: Option<&str>) -> anyhow::Result<Option<GoDuration>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let value = match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Value::from(format!("{text}s")),
        false => Value::from(text),
    };
    let read = serde_json::from_value(value);
    read.map(Some).map_err(|error| {
        Failure::new(format!("{flag} \"{text}\": {error}"))
            .remedy("Write it as 90, 90s or 2m30s.")
            .into()
    })
}

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::commands::deploy::AddressFlags;
use crate::machine_config::SizeFlags;

/// What can be said about a launch in advance; with `--yes` or `--now` nothing is asked.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "Examples:\n  launch\n  launch --name hello --region iad --yes\n  launch --image nginx --internal-port 80 \
                        --generate-name --yes\n  launch --from https://github.com/someone/template --into hello"
)]
pub(crate) struct Launch {
    /// Name of the app
    #[arg(long, value_name = "NAME", conflicts_with = "generate_name")]
    pub(super) name: Option<String>,
    /// Let the cloud choose a name
    #[arg(long)]
    pub(super) generate_name: bool,
    /// Organization that owns the app
    #[arg(short, long, env = "FLY_ORG", hide_env = true, value_name = "SLUG")]
    pub(super) org: Option<String>,
    /// Region of the first machines; see `platform regions`
    #[arg(
        short,
        long,
        alias = "primary-region",
        env = "FLY_REGION",
        hide_env = true,
        value_name = "CODE"
    )]
    pub(super) region: Option<String>,
    /// Directory of the app's sources
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(super) path: PathBuf,
    /// Begin with sources from elsewhere: a directory, or the address of a git repository
    #[arg(long, value_name = "PATH|URL")]
    pub(super) from: Option<String>,
    /// Directory the sources of --from are put into
    #[arg(long, value_name = "PATH", requires = "from")]
    pub(super) into: Option<PathBuf>,
    /// Image to run; nothing is built
    #[arg(short, long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// Dockerfile to build, by its path from the sources
    #[arg(long, value_name = "PATH", conflicts_with = "image")]
    pub(super) dockerfile: Option<String>,
    /// Port the app listens on in its machine
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) internal_port: Option<u16>,
    /// What happens to machines without work: off, stop or suspend
    #[arg(long, value_name = "HOW", value_parser = ["off", "stop", "suspend"])]
    pub(super) auto_stop: Option<String>,
    /// Command to run instead of the image's own
    #[arg(long, value_name = "COMMAND")]
    pub(super) command: Option<String>,
    /// Environment variable as NAME=VALUE. May be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(super) env: Vec<String>,
    /// Take the settings of an existing configuration file over without asking
    #[arg(long)]
    pub(super) copy_config: bool,
    /// Configuration file to take the settings of
    #[arg(short, long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// Write fly.json
    #[arg(long, conflicts_with = "yaml")]
    pub(super) json: bool,
    /// Write fly.yaml
    #[arg(long)]
    pub(super) yaml: bool,
    /// Create and configure the app only
    #[arg(long)]
    pub(super) no_deploy: bool,
    /// Ask nothing; files that are there stay
    #[arg(long)]
    pub(super) now: bool,
    /// Ask nothing; generated files replace those that are there
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Make two machines of every service, so that one can be lost
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(super) ha: bool,
    #[command(flatten)]
    pub(super) addresses: AddressFlags,
    /// Suggest no database
    #[arg(long)]
    pub(super) no_db: bool,
    /// Suggest no Redis
    #[arg(long)]
    pub(super) no_redis: bool,
    /// Suggest no bucket
    #[arg(long)]
    pub(super) no_object_storage: bool,
    /// Write no workflow for GitHub
    #[arg(long, env = "OPT_OUT_GITHUB_ACTIONS", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(super) no_github_workflow: bool,
    /// Write a workflow for GitHub that makes an app for every pull request
    #[arg(long)]
    pub(super) preview_workflow: bool,
    /// Make the .dockerignore from .gitignore where there is none
    #[arg(long)]
    pub(super) dockerignore_from_gitignore: bool,
    #[command(flatten)]
    pub(super) size: SizeFlags,
}

//! What every command needs to know first: which app, which token, which cloud.

mod app_config;
mod config_file;
mod org;

use std::env;
use std::path::{Path, PathBuf};

use mayfly_types::{Secret, Timestamp};

use crate::client::{Api, Endpoints};
use crate::failure::Failure;
use crate::output::Output;
use crate::program;

pub(crate) use app_config::LocalConfig;
pub(crate) use config_file::ConfigFile;
pub(crate) use org::chosen_org;

const DEFAULT_BASE_URL: &str = "http://127.0.0.1:4280";

/// The variables that hold a token; the first that is present decides, even when it is empty.
pub(crate) const TOKEN_VARIABLES: [&str; 2] = ["FLY_ACCESS_TOKEN", "FLY_API_TOKEN"];

/// Chooses the app a command works on.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct AppFlags {
    /// Application name
    #[arg(
        short,
        long,
        value_name = "NAME",
        env = "FLY_APP",
        hide_env_values = true
    )]
    pub(crate) app: Option<String>,
    /// Path to the application's configuration file
    #[arg(short, long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

impl AppFlags {
    /// The app by flag, then `FLY_APP`, then the configuration file.
    pub(crate) fn find(&self) -> anyhow::Result<Option<String>> {
        if let Some(app) = self.app.as_deref().filter(|app| !app.is_empty()) {
            // In `machine run IMAGE sh -c COMMAND`, the -c is ours and COMMAND no file.
            if self.config.is_some() {
                self.local_config()?;
            }
            return Ok(Some(app.to_owned()));
        }
        match self.local_config()? {
            Some(local) => local.app(),
            None => Ok(None),
        }
    }

    /// The configuration file `--config` names (a file or a directory), else the one in this directory.
    pub(crate) fn local_config(&self) -> anyhow::Result<Option<LocalConfig>> {
        LocalConfig::find(Path::new("."), self.config.as_deref())
    }

    /// As [`AppFlags::find`], for commands that cannot do without.
    pub(crate) fn require(&self) -> anyhow::Result<String> {
        self.find()?.ok_or_else(|| {
            Failure::new("no app was named")
                .remedy(
                    "Name it with --app NAME, set FLY_APP, or run this in a directory whose fly.toml has an `app` \
                     line.",
                )
                .into()
        })
    }
}

/// `--json`, for the commands that have it.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct JsonFlag {
    /// JSON output
    #[arg(short, long, env = "FLY_JSON", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// The rim of every command.
#[derive(Debug)]
pub(crate) struct Context {
    access_token: Option<String>,
    verbose: bool,
    pub(crate) out: Output,
}

impl Context {
    pub(crate) fn new(access_token: Option<String>, verbose: bool) -> Self {
        Self {
            access_token,
            verbose,
            out: Output::detect(),
        }
    }

    /// The token of `--access-token`, if it was given.
    pub(crate) fn access_token(&self) -> Option<&str> {
        self.access_token.as_deref()
    }

    /// The time by this computer's clock, for showing how long ago things were.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    /// The config file, `~/.mayfly/config.yml` unless `FLY_CONFIG_DIR` names another directory.
    pub(crate) fn config_file(&self) -> anyhow::Result<ConfigFile> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let directory = set("FLY_CONFIG_DIR")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(set("HOME")?).join(".mayfly")));
        ConfigFile::load(directory.map(|directory| directory.join("config.yml")))
    }

    /// The token by flag, environment and config file, in this order.
    pub(crate) fn token(&self) -> anyhow::Result<Option<Secret>> {
        let given = self.access_token.clone().or_else(|| {
            TOKEN_VARIABLES
                .into_iter()
                .find_map(|name| env::var(name).ok())
        });
        let token = match given {
            Some(token) => Some(token),
            None => self.config_file()?.get("access_token"),
        };
        Ok(token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty())
            .map(Secret::new))
    }

    /// A client that presents the user's token.
    ///
    /// # Errors
    /// There is no token; the error says how to get one.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        self.api_of(self.token()?.ok_or_else(not_authenticated)?)
    }

    /// A client that presents this token.
    pub(crate) fn api_of(&self, token: Secret) -> anyhow::Result<Api> {
        Ok(Api::new(self.endpoints()?, token, self.verbose))
    }

    /// The registry beside the API, and the token that opens it as a password.
    pub(crate) fn registry_login(&self) -> anyhow::Result<(String, String)> {
        let token = self.token()?.ok_or_else(not_authenticated)?;
        let url = self.endpoints()?.machines;
        let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host).to_owned();
        Ok((host, token.reveal().to_owned()))
    }

    /// Where the cloud is: by environment, then config file; the two addresses stand in for each other.
    pub(crate) fn endpoints(&self) -> anyhow::Result<Endpoints> {
        let file = self.config_file()?;
        let find = |variable: &str, key: &str| {
            env::var(variable)
                .ok()
                .filter(|url| !url.is_empty())
                .or_else(|| file.get(key))
        };
        let machines = find("FLY_FLAPS_BASE_URL", "flaps_base_url");
        let platform = find("FLY_API_BASE_URL", "api_base_url");
        let or_default = |first: &Option<String>, second: &Option<String>| {
            let url = first.as_ref().or(second.as_ref());
            let url = url.map_or(DEFAULT_BASE_URL, String::as_str);
            url.trim_end_matches('/').to_owned()
        };
        Ok(Endpoints {
            machines: or_default(&machines, &platform),
            platform: or_default(&platform, &machines),
        })
    }
}

pub(crate) fn not_authenticated() -> anyhow::Error {
    let name = program::name();
    Failure::new("not authenticated")
        .remedy(format!(
            "Sign in with `{name} auth login`, or set FLY_API_TOKEN. On the server itself, `mayfly up` signs you in."
        ))
        .into()
}

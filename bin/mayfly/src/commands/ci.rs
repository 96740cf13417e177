//! `ci`: files for systems of continuous integration.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use mayfly_launch::pipeline::{CiSystem, PREVIEW_TOKEN, PROGRAM, Pipeline, Previews, TOKEN};

use crate::context::{AppFlags, Context};
use crate::generated_files::{Existing, GeneratedFiles};
use crate::program;

#[derive(Subcommand, Debug)]
pub(crate) enum CiCommand {
    /// Write the files with which a system deploys every push and makes previews of pull requests
    Init(Init),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum System {
    Github,
    Gitlab,
    Circleci,
    Bitbucket,
    Buildkite,
}

impl From<System> for CiSystem {
    fn from(system: System) -> Self {
        match system {
            System::Github => CiSystem::GitHub,
            System::Gitlab => CiSystem::GitLab,
            System::Circleci => CiSystem::CircleCi,
            System::Bitbucket => CiSystem::Bitbucket,
            System::Buildkite => CiSystem::Buildkite,
        }
    }
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ci init gitlab\n  ci init github --preview-org previews\n  ci init buildkite --no-previews --yes"
)]
pub(crate) struct Init {
    /// Whose files they are
    #[arg(value_name = "SYSTEM")]
    system: System,
    #[command(flatten)]
    app: AppFlags,
    /// Directory of the app's sources, the root of their repository
    #[arg(long, value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Organization that has the previews
    #[arg(
        long,
        value_name = "SLUG",
        default_value = "personal",
        conflicts_with = "no_previews"
    )]
    preview_org: String,
    /// Only deploy
    #[arg(long)]
    no_previews: bool,
    /// Only make previews
    #[arg(long, conflicts_with = "no_previews")]
    no_deploys: bool,
    /// Replace files that are there
    #[arg(short, long)]
    yes: bool,
}

impl CiCommand {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            CiCommand::Init(command) => command.run(context),
        }
    }
}

impl Init {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let app = self.app.require()?;
        let existing = match self.yes {
            true => Existing::IsReplaced,
            false => Existing::IsAskedAbout,
        };
        let files = GeneratedFiles::new(context, existing);
        let previews = (!self.no_previews).then(|| Previews {
            app: app.clone(),
            org: self.preview_org,
        });
        write(
            context,
            &files,
            self.system.into(),
            &self.path,
            !self.no_deploys,
            previews,
            &app,
        )
    }
}

/// Writes the files of a system below a directory and says what else it needs.
pub(crate) fn write(
    context: &Context,
    files: &GeneratedFiles<'_>,
    system: CiSystem,
    directory: &Path,
    deploys: bool,
    previews: Option<Previews>,
    app: &str,
) -> anyhow::Result<()> {
    let api = context.endpoints()?.machines;
    // This server is not where other people's machines find it.
    let local = ["://127.", "://localhost", "://[::1]"]
        .iter()
        .any(|host| api.contains(host));
    let pipeline = Pipeline {
        api: (!local).then_some(api),
        deploys,
        previews,
    };
    let mut wrote = false;
    for (path, text) in system.files(&pipeline) {
        wrote |= files.write(&directory.join(path), &text, false)?;
    }
    if !wrote {
        return Ok(());
    }
    let out = &context.out;
    let (system, program) = (system.as_str(), program::name());
    if local {
        out.note(&format!(
            "{system}'s machines cannot reach this server by its local address: add FLY_FLAPS_BASE_URL where they run."
        ));
    }
    out.note(&format!(
        "{system} needs {PROGRAM}, the address of the mayfly program."
    ));
    if deploys {
        out.note(&format!(
            "It needs the secret {TOKEN}: {program} tokens create deploy --app {app}"
        ));
    }
    if let Some(Previews { org, .. }) = &pipeline.previews {
        out.note(&format!(
            "It needs the secret {PREVIEW_TOKEN}: {program} tokens create org --org {org}"
        ));
    }
    Ok(())
}

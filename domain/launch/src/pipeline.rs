//! Files for systems of continuous integration: deploy on push, and an app of its own for every pull request.

mod bitbucket;
mod buildkite;
mod circleci;
mod github;
mod gitlab;

pub use github::{ACTION, ACTION_PATH, DEPLOY_PATH, PREVIEW_PATH};

/// A system that runs pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiSystem {
    GitHub,
    GitLab,
    CircleCi,
    Bitbucket,
    Buildkite,
}

/// What its files say.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Address of the API, as `FLY_FLAPS_BASE_URL` names it; `None` where the system's machines cannot reach it.
    pub api: Option<String>,
    /// Whether pushes to the main branch are deployed.
    pub deploys: bool,
    pub previews: Option<Previews>,
}

/// Apps of pull requests.
#[derive(Clone, Debug)]
pub struct Previews {
    /// What their names begin with.
    pub app: String,
    /// The organization that has them.
    pub org: String,
}

/// The variable with a token that deploys.
pub const TOKEN: &str = "FLY_API_TOKEN";
/// The variable with a token of the previews' organization: that of an app makes no apps.
pub const PREVIEW_TOKEN: &str = "FLY_PREVIEW_TOKEN";
/// The variable with the address the command line is downloaded from.
pub const PROGRAM: &str = "MAYFLY_PROGRAM";

/// How long a preview lives after the last push to its request.
const PREVIEW_TTL: &str = "7d";

impl CiSystem {
    pub const ALL: [CiSystem; 5] = [
        CiSystem::GitHub,
        CiSystem::GitLab,
        CiSystem::CircleCi,
        CiSystem::Bitbucket,
        CiSystem::Buildkite,
    ];

    /// As people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            CiSystem::GitHub => "GitHub",
            CiSystem::GitLab => "GitLab",
            CiSystem::CircleCi => "CircleCI",
            CiSystem::Bitbucket => "Bitbucket",
            CiSystem::Buildkite => "Buildkite",
        }
    }

    /// Whether it runs something when a request is closed. Where it does not, previews go when their time is over.
    pub const fn tells_of_closing(self) -> bool {
        matches!(self, CiSystem::GitHub | CiSystem::GitLab)
    }

    /// Its files: their paths from the root of the sources, and their texts.
    pub fn files(self, pipeline: &Pipeline) -> Vec<(&'static str, String)> {
        match self {
            CiSystem::GitHub => github::files(pipeline),
            CiSystem::GitLab => vec![(".gitlab-ci.yml", gitlab::file(pipeline))],
            CiSystem::CircleCi => vec![(".circleci/config.yml", circleci::file(pipeline))],
            CiSystem::Bitbucket => vec![("bitbucket-pipelines.yml", bitbucket::file(pipeline))],
            CiSystem::Buildkite => vec![(".buildkite/pipeline.yml", buildkite::file(pipeline))],
        }
    }
}

/// Lines of a shell that install the command line where it is not there.
const INSTALL: [&str; 3] = [
    "export PATH=\"$HOME/.mayfly/bin:$PATH\"",
    "command -v mayfly || curl --fail --silent --show-error --location --retry 3 --create-dirs --output \
     \"$HOME/.mayfly/bin/mayfly\" \"$MAYFLY_PROGRAM\"",
    "chmod -f 755 \"$HOME/.mayfly/bin/mayfly\" || true",
];

/// What a file says on top.
fn heading(system: &str, pipeline: &Pipeline, where_from: &str) -> String {
    let mut text = String::new();
    if pipeline.deploys {
        text.push_str(&format!(
            "# Deploys every push to the main branch. Needs {where_from} {TOKEN} and {PROGRAM}.\n"
        ));
    }
    if pipeline.previews.is_some() {
        text.push_str(&format!(
            "# An app of its own for every {system}; it goes {PREVIEW_TTL} after the last push at the latest. Needs {where_from}\n\
             # {PREVIEW_TOKEN}, a token of the previews' organization, and {PROGRAM}.\n"
        ));
    }
    text
}

/// Lines that install the command line.
fn install() -> impl Iterator<Item = String> {
    INSTALL.into_iter().map(str::to_owned)
}

/// Lines that make or renew the preview and deploy to it; `number` and `commit` are variables of the system.
fn preview_lines(previews: &Previews, number: &str, commit: &str) -> Vec<String> {
    let Previews { app, org } = previews;
    vec![
        format!("export {TOKEN}=\"${PREVIEW_TOKEN}\" APP=\"{app}-pr-{number}\""),
        // Every push gives it more time; one that is forgotten goes by itself.
        format!(
            "mayfly apps ttl {PREVIEW_TTL} --app \"$APP\" || mayfly apps create \"$APP\" --org {org} --ttl {PREVIEW_TTL}"
        ),
        format!(
            "mayfly deploy --app \"$APP\" --strategy immediate --ha=false --build-arg COMMIT_SHA=\"{commit}\""
        ),
    ]
}

/// Says where the preview is.
const ADDRESS: &str =
    "mayfly status --app \"$APP\" --json | sed -n 's/.*\"AppURL\": *\"\\([^\"]*\\)\".*/\\1/p'";

/// A list of commands, each an item of YAML in single quotes.
fn items(lines: impl IntoIterator<Item = String>, indent: &str) -> String {
    lines
        .into_iter()
        .map(|line| format!("{indent}- '{}'\n", line.replace('\'', "''")))
        .collect()
}

/// Lines of a block of YAML.
fn block(lines: impl IntoIterator<Item = String>, indent: &str) -> String {
    lines
        .into_iter()
        .map(|line| format!("{indent}{line}\n"))
        .collect()
}

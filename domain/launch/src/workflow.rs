//! Workflows for GitHub: deploy on push, and an app of its own for every pull request.

/// Where the platform is reached, when it is not this server.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// Address of the API, as `FLY_FLAPS_BASE_URL` names it.
    pub api: Option<String>,
}

/// The file of the workflow that deploys.
pub const DEPLOY_PATH: &str = ".github/workflows/fly-deploy.yml";
/// The file of the workflow that makes and takes down previews.
pub const PREVIEW_PATH: &str = ".github/workflows/fly-preview.yml";
/// The file of the action that both use.
pub const ACTION_PATH: &str = ".github/actions/mayfly/action.yml";
/// The action itself.
pub const ACTION: &str = include_str!("../../../ci/github-action/action.yml");

/// How long a preview lives after the last push to its request.
const PREVIEW_TTL: &str = "7d";

/// The step that installs the command line, as a workflow's lines from `      - ` on.
const INSTALL: &str = "- uses: ./.github/actions/mayfly\n        with:\n          program: ${{ vars.MAYFLY_PROGRAM }}\n";

fn environment(cloud: &Cloud, indent: &str) -> String {
    let api = cloud.api.as_ref().map_or_else(String::new, |api| {
        format!("{indent}FLY_FLAPS_BASE_URL: {api}\n")
    });
    format!("{indent}FLY_API_TOKEN: ${{{{ secrets.FLY_API_TOKEN }}}}\n{api}")
}

/// Deploys every push to the main branch, one at a time.
pub fn deploy(cloud: &Cloud) -> String {
    format!(
        "# Deploys every push to the main branch. Needs the repository's secret FLY_API_TOKEN and variable MAYFLY_PROGRAM.\n\
         name: Deploy\n\
         on:\n  push:\n    branches: [main, master]\n\n\
         permissions:\n  contents: read\n\n\
         jobs:\n  deploy:\n    runs-on: ubuntu-latest\n    timeout-minutes: 30\n    \
         # A second push waits for the first; nothing is cancelled half way.\n    \
         concurrency: deploy-production\n    env:\n{env}    steps:\n      \
         - uses: actions/checkout@v4\n      \
         {INSTALL}          args: deploy --image-label ${{{{ github.sha }}}}\n",
        env = environment(cloud, "      "),
    )
}

/// An app per pull request: made and renewed with every push to it, gone when it closes.
///
/// `app` is the name the previews' names begin with, `org` who pays for them.
pub fn preview(cloud: &Cloud, app: &str, org: &str) -> String {
    format!(
        "# An app of its own for every pull request, gone when the request is closed. Needs the repository's secret\n# FLY_API_TOKEN and variable MAYFLY_PROGRAM; requests from forks get neither.\n\
         name: Preview\n\
         on:\n  pull_request:\n    types: [opened, reopened, synchronize, closed]\n\n\
         permissions:\n  contents: read\n\n\
         # Only the newest push of a request matters.\n\
         concurrency:\n  group: preview-${{{{ github.event.number }}}}\n  cancel-in-progress: false\n\n\
         env:\n{env}  APP: {app}-pr-${{{{ github.event.number }}}}\n\n\
         jobs:\n  deploy:\n    if: github.event.action != 'closed'\n    runs-on: ubuntu-latest\n    timeout-minutes: 30\n    \
         environment:\n      name: preview-${{{{ github.event.number }}}}\n      url: ${{{{ steps.address.outputs.url }}}}\n    steps:\n      \
         - uses: actions/checkout@v4\n      \
         {INSTALL}      \
         - name: Create the app unless it is there\n        # Every push gives it more time; one that is forgotten goes by itself.\n        run: mayfly apps ttl {ttl} --app \"$APP\" || mayfly apps create \"$APP\" --org {org} --ttl {ttl}\n      \
         - name: Deploy\n        run: mayfly deploy --app \"$APP\" --strategy immediate --ha=false --build-arg COMMIT_SHA=\"$GITHUB_SHA\"\n      \
         - name: Tell where it is\n        id: address\n        run: echo \"url=$(mayfly status --app \"$APP\" --json | jq -r .AppURL)\" >> \"$GITHUB_OUTPUT\"\n\n  \
         teardown:\n    if: github.event.action == 'closed'\n    runs-on: ubuntu-latest\n    timeout-minutes: 10\n    steps:\n      \
         - uses: actions/checkout@v4\n      \
         {INSTALL}      \
         - name: Destroy the app\n        run: apps=$(mayfly apps list --quiet); if grep -qx \"$APP\" <<<\"$apps\"; then mayfly apps destroy \"$APP\" --yes; fi\n",
        env = environment(cloud, "  "),
        ttl = PREVIEW_TTL,
    )
}

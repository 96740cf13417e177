use super::{PREVIEW_TOKEN, PREVIEW_TTL, Pipeline, Previews, TOKEN};

/// The file of the workflow that deploys.
pub const DEPLOY_PATH: &str = ".github/workflows/fly-deploy.yml";
/// The file of the workflow that makes and takes down previews.
pub const PREVIEW_PATH: &str = ".github/workflows/fly-preview.yml";
/// The file of the action that both use.
pub const ACTION_PATH: &str = ".github/actions/mayfly/action.yml";
/// The action itself.
pub const ACTION: &str = include_str!("../../../../ci/github-action/action.yml");

/// The step that installs the command line, as a workflow's lines from `      - ` on.
const INSTALL: &str = "- uses: ./.github/actions/mayfly\n        with:\n          program: ${{ vars.MAYFLY_PROGRAM }}\n";

pub(super) fn files(pipeline: &Pipeline) -> Vec<(&'static str, String)> {
    let mut files = vec![(ACTION_PATH, ACTION.to_owned())];
    if pipeline.deploys {
        files.push((DEPLOY_PATH, deploy(pipeline)));
    }
    if let Some(previews) = &pipeline.previews {
        files.push((PREVIEW_PATH, preview(pipeline, previews)));
    }
    files
}

fn environment(pipeline: &Pipeline, secret: &str, indent: &str) -> String {
    let api = pipeline.api.as_ref().map_or_else(String::new, |api| {
        format!("{indent}FLY_FLAPS_BASE_URL: {api}\n")
    });
    format!("{indent}{TOKEN}: ${{{{ secrets.{secret} }}}}\n{api}")
}

/// Deploys every push to the main branch, one at a time.
fn deploy(pipeline: &Pipeline) -> String {
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
        env = environment(pipeline, TOKEN, "      "),
    )
}

/// An app per pull request: made and renewed with every push to it, gone when it closes. Where it is, or why there is none,
/// becomes a comment of the request.
fn preview(pipeline: &Pipeline, previews: &Previews) -> String {
    let Previews { app, org } = previews;
    format!(
        "# An app of its own for every pull request, gone when the request is closed. Needs the repository's secret\n# \
         {PREVIEW_TOKEN}, a token of the previews' organization, and variable MAYFLY_PROGRAM; requests from forks get neither.\n\
         name: Preview\n\
         on:\n  pull_request:\n    types: [opened, reopened, synchronize, closed]\n\n\
         permissions:\n  contents: read\n  pull-requests: write\n\n\
         # Only the newest push of a request matters.\n\
         concurrency:\n  group: preview-${{{{ github.event.number }}}}\n  cancel-in-progress: false\n\n\
         env:\n{env}  APP: {app}-pr-${{{{ github.event.number }}}}\n  NUMBER: ${{{{ github.event.number }}}}\n\n\
         jobs:\n  deploy:\n    if: github.event.action != 'closed'\n    runs-on: ubuntu-latest\n    timeout-minutes: 30\n    \
         environment:\n      name: preview-${{{{ github.event.number }}}}\n      url: ${{{{ steps.address.outputs.url }}}}\n    steps:\n      \
         - uses: actions/checkout@v4\n      \
         {INSTALL}      \
         - name: Create the app unless it is there\n        # Every push gives it more time; one that is forgotten goes by itself.\n        run: |\n          \
         mayfly apps ttl {PREVIEW_TTL} --app \"$APP\" && exit 0\n          \
         mayfly apps create \"$APP\" --org {org} --ttl {PREVIEW_TTL} 2> >(tee refusal >&2)\n      \
         - name: Say why there is no preview\n        if: failure() && hashFiles('refusal') != ''\n        env:\n          GH_TOKEN: ${{{{ github.token }}}}\n        \
         run: printf 'There is no preview of this request:\\n\\n    %s\\n' \"$(head -1 refusal)\" | gh pr comment \"$NUMBER\" --body-file -\n      \
         - name: Deploy\n        run: mayfly deploy --app \"$APP\" --strategy immediate --ha=false --build-arg COMMIT_SHA=\"$GITHUB_SHA\"\n      \
         - name: Tell where it is\n        id: address\n        run: echo \"url=$(mayfly status --app \"$APP\" --json | jq -r .AppURL)\" >> \"$GITHUB_OUTPUT\"\n      \
         - name: Say where it is\n        if: github.event.action != 'synchronize'\n        env:\n          GH_TOKEN: ${{{{ github.token }}}}\n          \
         URL: ${{{{ steps.address.outputs.url }}}}\n        run: gh pr comment \"$NUMBER\" --body \"The preview of this request is at $URL\"\n\n  \
         teardown:\n    if: github.event.action == 'closed'\n    runs-on: ubuntu-latest\n    timeout-minutes: 10\n    steps:\n      \
         - uses: actions/checkout@v4\n      \
         {INSTALL}      \
         - name: Destroy the app\n        run: apps=$(mayfly apps list --quiet); if grep -qx \"$APP\" <<<\"$apps\"; then mayfly apps destroy \"$APP\" --yes; fi\n",
        env = environment(pipeline, PREVIEW_TOKEN, "  "),
    )
}

use super::{ADDRESS, Pipeline, block, heading, install, preview_lines};

/// `.buildkite/pipeline.yml`.
///
/// What is to be a variable of the shell has two dollar signs: one alone is replaced when the file is read.
pub(super) fn file(pipeline: &Pipeline) -> String {
    let environment = pipeline.api.as_ref().map_or_else(String::new, |api| {
        format!("env:\n  FLY_FLAPS_BASE_URL: {api}\n\n")
    });
    let step = |label: &str, when: &str, group: &str, lines: Vec<String>| {
        let lines = ["set -e".to_owned()]
            .into_iter()
            .chain(install())
            .chain(lines);
        format!(
            "  - label: {label}\n    if: {when}\n    concurrency: 1\n    concurrency_group: {group}\n    timeout_in_minutes: 30\n    command: |\n{}",
            block(lines.map(|line| line.replace('$', "$$")), "      "),
        )
    };
    let mut steps = String::new();
    if pipeline.deploys {
        steps.push_str(&step(
            "Deploy",
            "build.branch == pipeline.default_branch && build.pull_request.id == null",
            "$BUILDKITE_PIPELINE_SLUG/deploy",
            vec!["mayfly deploy --image-label \"$BUILDKITE_COMMIT\"".to_owned()],
        ));
    }
    if let Some(previews) = &pipeline.previews {
        let mut lines = preview_lines(previews, "$BUILDKITE_PULL_REQUEST", "$BUILDKITE_COMMIT");
        lines.push(ADDRESS.to_owned());
        steps.push_str(&step(
            "Preview",
            "build.pull_request.id != null",
            "$BUILDKITE_PIPELINE_SLUG/preview-$BUILDKITE_PULL_REQUEST",
            lines,
        ));
    }
    format!(
        "{}{environment}steps:\n{steps}",
        heading("pull request", pipeline, "the agents' variables")
    )
}

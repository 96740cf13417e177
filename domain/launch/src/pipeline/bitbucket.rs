use super::{ADDRESS, Pipeline, heading, install, items, preview_lines};

/// `bitbucket-pipelines.yml`.
pub(super) fn file(pipeline: &Pipeline) -> String {
    let api = pipeline.api.as_ref();
    let api = api.map(|api| format!("export FLY_FLAPS_BASE_URL={api}"));
    let step = |name: &str, more: &str, lines: Vec<String>| {
        let script = api.clone().into_iter().chain(install()).chain(lines);
        format!(
            "      - step:\n          name: {name}\n          max-time: 30\n{more}          script:\n{}",
            items(script, "            ")
        )
    };
    let mut pipelines = String::new();
    if pipeline.deploys {
        let deploy = "mayfly deploy --image-label \"$BITBUCKET_COMMIT\"".to_owned();
        pipelines.push_str("  branches:\n    '{main,master}':\n");
        let production = "          deployment: production\n";
        pipelines.push_str(&step("Deploy", production, vec![deploy]));
    }
    if let Some(previews) = &pipeline.previews {
        let mut lines = preview_lines(previews, "$BITBUCKET_PR_ID", "$BITBUCKET_COMMIT");
        lines.push(ADDRESS.to_owned());
        pipelines.push_str("  pull-requests:\n    '**':\n");
        pipelines.push_str(&step("Preview", "", lines));
    }
    format!(
        "{}image: buildpack-deps:stable-curl\n\npipelines:\n{pipelines}",
        heading("pull request", pipeline, "the repository variables")
    )
}

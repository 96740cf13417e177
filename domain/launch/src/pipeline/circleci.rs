use super::{ADDRESS, Pipeline, block, heading, install, preview_lines};

/// `.circleci/config.yml`.
pub(super) fn file(pipeline: &Pipeline) -> String {
    let environment = pipeline.api.as_ref().map_or_else(String::new, |api| {
        format!("    environment:\n      FLY_FLAPS_BASE_URL: {api}\n")
    });
    let job = |name: &str, title: &str, lines: Vec<String>| {
        format!(
            "  {name}:\n    docker:\n      - image: cimg/base:stable\n{environment}    steps:\n      - checkout\n      - run:\n          \
             name: {title}\n          no_output_timeout: 30m\n          command: |\n{}",
            block(install().chain(lines), "            "),
        )
    };
    let heading = heading(
        "pull request",
        pipeline,
        "the project's environment variables",
    );
    let mut jobs = String::new();
    let mut workflow = String::new();
    if pipeline.deploys {
        let deploy = "mayfly deploy --image-label \"$CIRCLE_SHA1\"".to_owned();
        jobs.push_str(&job("deploy", "Deploy", vec![deploy]));
        workflow.push_str("      - deploy:\n          filters:\n            branches:\n              only:\n                - main\n                - master\n");
    }
    if let Some(previews) = &pipeline.previews {
        let alone = "[ -n \"${CIRCLE_PULL_REQUEST:-}\" ] || { echo \"No pull request has this branch.\"; exit 0; }";
        let mut lines = vec![alone.to_owned()];
        lines.extend(preview_lines(
            previews,
            "${CIRCLE_PULL_REQUEST##*/}",
            "$CIRCLE_SHA1",
        ));
        lines.push(ADDRESS.to_owned());
        jobs.push_str(&job("preview", "Preview", lines));
        workflow.push_str("      - preview:\n          filters:\n            branches:\n              ignore:\n                - main\n                - master\n");
    }
    format!("{heading}version: 2.1\n\njobs:\n{jobs}\nworkflows:\n  apps:\n    jobs:\n{workflow}")
}

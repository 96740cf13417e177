use super::{ADDRESS, Pipeline, heading, install, items, preview_lines};

const BRANCH: &str = "$CI_PIPELINE_SOURCE == \"push\" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH";
const REQUEST: &str = "$CI_PIPELINE_SOURCE == \"merge_request_event\"";

/// `.gitlab-ci.yml`, whose environments GitLab shows at the merge request and stops when it is closed.
pub(super) fn file(pipeline: &Pipeline) -> String {
    let variables = pipeline.api.as_ref().map_or_else(String::new, |api| {
        format!("variables:\n  FLY_FLAPS_BASE_URL: {api}\n\n")
    });
    let mut text = format!(
        "{heading}{variables}stages:\n  - deploy\n\n.mayfly:\n  stage: deploy\n  image: buildpack-deps:stable-curl\n  timeout: 30 minutes\n  before_script:\n{install}",
        heading = heading("merge request", pipeline, "the CI/CD variables"),
        install = items(install(), "    "),
    );
    if pipeline.deploys {
        text.push_str(&format!(
            "\ndeploy:\n  extends: .mayfly\n  rules:\n    - if: {BRANCH}\n  # A second push waits for the first.\n  \
             resource_group: production\n  environment: production\n  script:\n    - mayfly deploy --image-label \"$CI_COMMIT_SHA\"\n"
        ));
    }
    if let Some(previews) = &pipeline.previews {
        let mut lines = preview_lines(previews, "$CI_MERGE_REQUEST_IID", "$CI_COMMIT_SHA");
        lines.push(format!("echo \"PREVIEW_URL=$({ADDRESS})\" > preview.env"));
        let environment = "preview/$CI_MERGE_REQUEST_IID";
        text.push_str(&format!(
            "\npreview:\n  extends: .mayfly\n  rules:\n    - if: {REQUEST}\n  resource_group: {environment}\n  environment:\n    \
             name: {environment}\n    url: $PREVIEW_URL\n    on_stop: stop preview\n    auto_stop_in: 7 days\n  script:\n{script}  \
             artifacts:\n    reports:\n      dotenv: preview.env\n\n\
             # Run by GitLab when the request is closed or merged.\n\
             stop preview:\n  extends: .mayfly\n  rules:\n    - if: {REQUEST}\n      when: manual\n      allow_failure: true\n  \
             resource_group: {environment}\n  environment:\n    name: {environment}\n    action: stop\n  variables:\n    GIT_STRATEGY: none\n  script:\n{stop}",
            script = items(lines, "    "),
            stop = items(
                [
                    format!("export FLY_API_TOKEN=\"$FLY_PREVIEW_TOKEN\" APP=\"{}-pr-$CI_MERGE_REQUEST_IID\"", previews.app),
                    "apps=$(mayfly apps list --quiet); if echo \"$apps\" | grep -qx \"$APP\"; then mayfly apps destroy \"$APP\" --yes; fi".to_owned(),
                ],
                "    ",
            ),
        ));
    }
    text
}

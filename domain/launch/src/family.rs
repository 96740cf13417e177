//! The families, in the order they are asked.

mod beam;
mod compiled;
mod container;
mod deno;
mod django;
mod js;
mod laravel;
mod python;
mod rails;
mod ruby;
mod site;

use crate::project::Project;
use crate::tree::SourceTree;
use crate::{dockerfile, heroku, procfile};

/// Looks for its own in the sources.
type Family = fn(&SourceTree) -> Option<Project>;

/// The first that recognises its own wins. An existing Dockerfile stops the search where Fly.io's own scanners stop; the
/// families before it know more about an app than a Dockerfile says.
const FAMILIES: [Family; 21] = [
    django::django,
    laravel::laravel,
    beam::phoenix,
    rails::rails,
    js::redwood,
    js::framework,
    container::dockerfile,
    ruby::bridgetown,
    compiled::lucky,
    ruby::ruby,
    compiled::go,
    beam::elixir,
    python::flask,
    python::python,
    deno::deno,
    js::without_start_script,
    site::static_site,
    compiled::dotnet,
    compiled::spring,
    compiled::rust,
    container::procfile_only,
];

/// What the sources are, or `None` if no family recognises them.
pub fn detect(tree: &SourceTree) -> Option<Project> {
    let mut project = FAMILIES.iter().find_map(|family| family(tree))?;
    let only_files = project
        .files
        .iter()
        .any(|file| file.path == "Dockerfile" && file.content.contains("FROM nginx"));
    if tree.has("Procfile") && only_files && tree.first(&container::NAMES).is_none() {
        project.note("The Procfile is not taken over: the image has a server of files and nothing to run its commands with.");
    } else if tree.has("Procfile") {
        procfile::apply(tree.text("Procfile"), &mut project);
    }
    if let Some(name) = tree.first(&container::NAMES) {
        keep_dockerfile(name, tree.text(name), &mut project);
    }
    if tree.has(".dockerignore") {
        project.files.retain(|file| file.path != ".dockerignore");
    }
    for name in [
        "docker-compose.yml",
        "docker-compose.yaml",
        "compose.yml",
        "compose.yaml",
    ] {
        if tree.has(name) {
            project.note(format!(
                "{name} is not taken over: databases and queues in it are services of their own here."
            ));
        }
    }
    if tree.has("app.json") {
        heroku::apply(tree.text("app.json"), &mut project);
    }
    if tree.has("render.yaml") {
        project.note("render.yaml, the description of another platform, is not taken over.");
    }
    Some(project)
}

/// A Dockerfile that is there stays, and what it says about ports wins.
fn keep_dockerfile(name: &str, text: &str, project: &mut Project) {
    project.files.retain(|file| file.path != "Dockerfile");
    project.dockerfile = Some(name.to_owned());
    if let Some(port) = dockerfile::exposed(text).first() {
        for (_, value) in project.env.iter_mut().filter(|(name, _)| name == "PORT") {
            *value = port.to_string();
        }
        project.port = *port;
    }
    let leaks = dockerfile::leaks(text);
    project.notes.extend(leaks);
}

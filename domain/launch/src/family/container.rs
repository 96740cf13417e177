use crate::dockerfile;
use crate::project::Project;
use crate::tree::SourceTree;

/// The names a Dockerfile has.
pub(super) const NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];

/// Anything with a Dockerfile: its ports and volumes are all there is to know.
pub(super) fn dockerfile(tree: &SourceTree) -> Option<Project> {
    let name = tree.first(&NAMES)?;
    let mut project = Project::new("Dockerfile", 8080);
    for (index, path) in dockerfile::volumes(tree.text(name)).iter().enumerate() {
        if index == 0 {
            project.mount("data", path);
        } else {
            project.note(format!(
                "VOLUME {path} is not mounted: a machine has one volume."
            ));
        }
    }
    Some(project)
}

/// Only a Procfile: what it runs is known, what it runs in is not.
pub(super) fn procfile_only(tree: &SourceTree) -> Option<Project> {
    if !tree.has("Procfile") {
        return None;
    }
    let mut project = Project::new("Procfile", 8080);
    project.env("PORT", 8080);
    project.note("No Dockerfile could be made from a Procfile alone: write one with the runtime the commands need.");
    Some(project)
}

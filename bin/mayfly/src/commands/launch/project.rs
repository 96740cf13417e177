use std::fs;
use std::path::Path;

use anyhow::Context as _;
use mayfly_launch::{GeneratedFile, Project, detect, dockerignore_of_gitignores, exposed_ports};

use super::Launch;
use crate::context::LocalConfig;
use crate::failure::Failure;
use crate::sources::read_sources;

/// What is launched: an image, a Dockerfile that was named, or what the sources are recognised as.
///
/// # Errors
/// The sources are recognised as nothing; the error says what can be done.
pub(super) fn find(
    flags: &Launch,
    directory: &Path,
    existing: Option<&LocalConfig>,
) -> anyhow::Result<Project> {
    let build = existing.and_then(|local| local.reading.config.build.as_ref());
    let configured = build.is_some_and(|build| build.image.is_some()) && flags.dockerfile.is_none();
    if flags.image.is_some() || configured {
        return Ok(Project {
            family: "Image",
            port: 8080,
            ..Project::default()
        });
    }
    let named = flags
        .dockerfile
        .as_deref()
        .or_else(|| build?.dockerfile.as_deref());
    if let Some(name) = named.filter(|name| !name.contains("://")) {
        let path = directory.join(name);
        if !path.is_file() {
            return Err(Failure::new(format!("there is no Dockerfile {name} in {}", shown(directory)))
                .remedy("--dockerfile, and dockerfile in [build], take its path from the directory of the sources.")
                .into());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        return Ok(Project {
            family: "Dockerfile",
            port: exposed_ports(&text).first().copied().unwrap_or(8080),
            dockerfile: Some(name.to_owned()),
            ..Project::default()
        });
    }
    let tree = read_sources(directory);
    let Some(mut project) = detect(&tree) else {
        return Err(Failure::new(format!(
            "could not tell what kind of app is in {}",
            shown(directory)
        ))
        .remedy("Write a Dockerfile there, or name an image with --image IMAGE.")
        .into());
    };
    if flags.dockerignore_from_gitignore
        && !directory.join(".dockerignore").exists()
        && let Some(content) = dockerignore_of_gitignores(&tree)
    {
        project.files.retain(|file| file.path != ".dockerignore");
        project.files.push(GeneratedFile {
            path: ".dockerignore".to_owned(),
            content,
            executable: false,
        });
    }
    Ok(project)
}

fn shown(directory: &Path) -> String {
    if directory == Path::new(".") {
        "this directory".to_owned()
    } else {
        directory.display().to_string()
    }
}

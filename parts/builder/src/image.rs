use std::io;
use std::path::Path;
use std::process::Stdio;

use mayfly_types::ImageRef;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// What the image is made by and of, in order of name.
const ASSETS: [(&str, &str); 6] = [
    ("build", include_str!("../assets/build")),
    ("builder", include_str!("../assets/builder")),
    (MAKE, include_str!("../assets/make-image")),
    ("policy.json", include_str!("../assets/policy.json")),
    ("registries.conf", include_str!("../assets/registries.conf")),
    ("storage.conf", include_str!("../assets/storage.conf")),
];
const MAKE: &str = "make-image";

/// Why this server has no image of builder machines.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("prepare the making of the builder's image")]
    Io(#[source] io::Error),
    #[error("make the builder's image of packages: {0}")]
    Failed(String),
}

/// The image that builder machines of this version run.
pub fn image_name() -> ImageRef {
    let mut hash = Sha256::new();
    for (_, content) in ASSETS {
        hash.update(content);
    }
    let version: String = hash.finalize()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("mayfly.internal/builder:{version}")
        .parse()
        .expect("a name and 12 digits name an image")
}

/// Makes the image in `directory`, which is empty, of packages that this server's own package sources have, and returns
/// the archive. `said` hears what is done meanwhile.
///
/// # Cancellation
/// Dropping the future ends the work.
pub async fn assemble(
    directory: &Path,
    mut said: impl FnMut(&str),
) -> Result<std::path::PathBuf, AssembleError> {
    for (name, content) in ASSETS {
        let written = tokio::fs::write(directory.join(name), content).await;
        written.map_err(AssembleError::Io)?;
    }
    let archive = directory.join("builder.tar");
    let mut child = Command::new("sh")
        .arg(directory.join(MAKE))
        .arg(&archive)
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(AssembleError::Io)?;
    let errors = child.stderr.take().expect("stderr is piped");
    let mut lines = BufReader::new(errors).lines();
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.map_err(AssembleError::Io)? {
        said(&line);
        last = line;
    }
    let ended = child.wait().await.map_err(AssembleError::Io)?;
    match ended.success() {
        true => Ok(archive),
        false => Err(AssembleError::Failed(last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_and_this_program_agree_on_the_version() {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let command = "cat build builder make-image policy.json registries.conf storage.conf | sha256sum | cut -c1-12";
        let recipe = std::fs::read_to_string(assets.join(MAKE)).unwrap();
        assert!(recipe.contains(command));
        let output = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(assets)
            .output()
            .unwrap();
        let version = String::from_utf8(output.stdout).unwrap();
        assert_eq!(image_name().tag(), Some(version.trim()));
    }
}

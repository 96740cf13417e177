use crate::{InitSpec, ProcessSpec};

/// What an image says about running it: the part of its OCI configuration that machines need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Empty means root.
    pub user: String,
    /// Empty means `/`.
    pub workdir: String,
}

/// Neither the image nor the machine names a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither the image nor the configuration says what to run: set init.exec, init.entrypoint or init.cmd"
)]
pub struct NothingToRun;

/// The three overrides a machine, a process and a container share.
#[derive(Clone, Copy, Debug)]
pub struct Overrides<'a> {
    pub exec: Option<&'a [String]>,
    pub entrypoint: Option<&'a [String]>,
    pub cmd: Option<&'a [String]>,
}

impl<'a> From<&'a InitSpec> for Overrides<'a> {
    fn from(init: &'a InitSpec) -> Self {
        Overrides {
            exec: init.exec.as_deref(),
            entrypoint: init.entrypoint.as_deref(),
            cmd: init.cmd.as_deref(),
        }
    }
}

impl<'a> From<&'a ProcessSpec> for Overrides<'a> {
    fn from(process: &'a ProcessSpec) -> Self {
        Overrides {
            exec: process.exec.as_deref(),
            entrypoint: process.entrypoint.as_deref(),
            cmd: process.cmd.as_deref(),
        }
    }
}

impl ImageDefaults {
    /// The words to execute. `exec` replaces everything; an own entrypoint drops the image's command, as
    /// `docker run --entrypoint` does; an own command is handed to whichever entrypoint holds.
    ///
    /// # Errors
    /// [`NothingToRun`] if no word is left.
    pub fn argv(&self, overrides: Overrides<'_>) -> Result<Vec<String>, NothingToRun> {
        let words = match overrides {
            Overrides {
                exec: Some(exec), ..
            } if !exec.is_empty() => exec.to_vec(),
            Overrides {
                entrypoint: Some(entrypoint),
                cmd,
                ..
            } => [entrypoint, cmd.unwrap_or_default()].concat(),
            Overrides {
                entrypoint: None,
                cmd: Some(cmd),
                ..
            } => [&self.entrypoint, cmd].concat(),
            _ => [self.entrypoint.as_slice(), &self.cmd].concat(),
        };
        if words.first().is_none_or(String::is_empty) {
            Err(NothingToRun)
        } else {
            Ok(words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_follow_docker() {
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let image = ImageDefaults {
            entrypoint: words("ep a"),
            cmd: words("cmd b"),
            ..Default::default()
        };
        for (exec, entrypoint, cmd, wanted) in [
            (None, None, None, "ep a cmd b"),
            (None, None, Some("x y"), "ep a x y"),
            (None, Some("own"), None, "own"),
            (None, Some("own"), Some("x"), "own x"),
            (None, Some(""), Some("x"), "x"),
            (Some("e f"), Some("own"), Some("x"), "e f"),
            (Some(""), None, None, "ep a cmd b"),
            (None, None, Some(""), "ep a"),
        ] {
            let init = InitSpec {
                exec: exec.map(words),
                entrypoint: entrypoint.map(words),
                cmd: cmd.map(words),
                ..Default::default()
            };
            let argv = image.argv(Overrides::from(&init)).unwrap();
            assert_eq!(argv, words(wanted), "{exec:?} {entrypoint:?} {cmd:?}");
        }
        let nothing = ImageDefaults::default().argv(Overrides::from(&InitSpec::default()));
        assert_eq!(nothing, Err(NothingToRun));
    }
}

//! Writing what was generated, without losing what somebody wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::context::Context;

/// What becomes of a file that is there and says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Stays,
    IsReplaced,
    IsAskedAbout,
}

/// Writes files, each by the rule for those that are there already.
pub(crate) struct GeneratedFiles<'a> {
    context: &'a Context,
    existing: Existing,
}

impl<'a> GeneratedFiles<'a> {
    pub(crate) fn new(context: &'a Context, existing: Existing) -> Self {
        Self { context, existing }
    }

    /// Writes a generated file, and says whether it did.
    pub(crate) fn write(
        &self,
        path: &Path,
        content: &str,
        executable: bool,
    ) -> anyhow::Result<bool> {
        if let Ok(there) = fs::read(path) {
            if there == content.as_bytes() {
                return Ok(false);
            }
            let shown = path.strip_prefix(".").unwrap_or(path).display();
            let replace = match self.existing {
                Existing::Stays => false,
                Existing::IsReplaced => true,
                Existing::IsAskedAbout => self.context.out.confirm(&format!("Replace {shown}?"))?,
            };
            if !replace {
                self.context.out.note(&format!("Kept {shown}"));
                return Ok(false);
            }
        }
        self.replace(path, content)?;
        if executable {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("make {} executable", path.display()))?;
        }
        Ok(true)
    }

    /// Writes a file, whatever was there.
    pub(crate) fn replace(&self, path: &Path, content: &str) -> anyhow::Result<()> {
        let shown = path.strip_prefix(".").unwrap_or(path).display().to_string();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        fs::write(path, content).with_context(|| format!("write {shown}"))?;
        Ok(self.context.out.line(&format!("Wrote {shown}"))?)
    }
}

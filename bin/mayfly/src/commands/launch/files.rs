//! Writing what was generated, without losing what somebody wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use mayfly_launch::workflow::{self, Cloud};

use super::Launch;
use super::plan::Plan;
use crate::context::Context;

/// Writes files, each by the rule for those that are there already.
pub(super) struct Files<'a> {
    context: &'a Context,
    flags: &'a Launch,
}

impl<'a> Files<'a> {
    pub(super) fn new(context: &'a Context, flags: &'a Launch) -> Self {
        Self { context, flags }
    }

    /// Writes a generated file, and says whether it did. One that is there stays with `--now`, is replaced with `--yes`, and
    /// asked about otherwise.
    pub(super) fn write(
        &mut self,
        path: &Path,
        content: &str,
        executable: bool,
    ) -> anyhow::Result<bool> {
        if let Ok(there) = fs::read(path) {
            let shown = path.strip_prefix(".").unwrap_or(path).display();
            if there == content.as_bytes() {
                return Ok(false);
            }
            let replace = !self.flags.now
                && (self.flags.yes || self.context.out.confirm(&format!("Replace {shown}?"))?);
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
    pub(super) fn replace(&self, path: &Path, content: &str) -> anyhow::Result<()> {
        let shown = path.strip_prefix(".").unwrap_or(path).display().to_string();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        fs::write(path, content).with_context(|| format!("write {shown}"))?;
        Ok(self.context.out.line(&format!("Wrote {shown}"))?)
    }

    /// Workflows, for sources that are on GitHub.
    pub(super) fn workflows(
        &mut self,
        context: &Context,
        directory: &Path,
        plan: &Plan,
    ) -> anyhow::Result<()> {
        let on_github = fs::read_to_string(directory.join(".git/config"))
            .is_ok_and(|config| config.contains("github"));
        let deploy = on_github && !self.flags.no_github_workflow;
        if !deploy && !self.flags.preview_workflow {
            return Ok(());
        }
        let api = context.endpoints()?.machines;
        // This server is not where GitHub's machines find it.
        let local = ["://127.", "://localhost", "://[::1]"]
            .iter()
            .any(|host| api.contains(host));
        let cloud = Cloud {
            api: (!local).then_some(api),
        };
        let mut wrote = self.write(
            &directory.join(workflow::ACTION_PATH),
            workflow::ACTION,
            false,
        )?;
        if deploy {
            wrote |= self.write(
                &directory.join(workflow::DEPLOY_PATH),
                &workflow::deploy(&cloud),
                false,
            )?;
        }
        if self.flags.preview_workflow {
            let app = plan.name.as_deref().unwrap_or("app");
            let text = workflow::preview(&cloud, app, &plan.org);
            wrote |= self.write(&directory.join(workflow::PREVIEW_PATH), &text, false)?;
        }
        if !wrote {
            return Ok(());
        }
        if local {
            context.out.note(
                "GitHub's machines cannot reach this server by its local address: add FLY_FLAPS_BASE_URL to the workflow.",
            );
        }
        context
            .out
            .note("The workflows need the repository's secret FLY_API_TOKEN, a token, and its variable MAYFLY_PROGRAM, the address of the \
             mayfly program.");
        Ok(())
    }
}

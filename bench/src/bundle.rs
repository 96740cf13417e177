use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle for OCI runtimes: busybox in a plain directory, sleeping.
pub(crate) struct Bundle {
    directory: TempDir,
}

impl Bundle {
    pub(crate) fn make(busybox: &Path) -> Result<Bundle> {
        let directory = TempDir::with_prefix("mayfly-bench-bundle-")?;
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin)?;
        fs::copy(busybox, bin.join("busybox")).context("copy busybox; install busybox-static")?;
        let made = Command::new("crun")
            .arg("spec")
            .current_dir(directory.path())
            .status()?;
        ensure!(made.success(), "crun spec failed");
        let path = directory.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/busybox", "sleep", "1000000"]);
        // Raising limits needs a capability that the measuring machine may lack.
        config["process"]["rlimits"] = json!([]);
        fs::write(&path, config.to_string())?;
        Ok(Bundle { directory })
    }

    pub(crate) fn path(&self) -> &str {
        self.directory.path().to_str().unwrap_or_default()
    }
}

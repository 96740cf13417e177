use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The static program `netprobe` of `peers/`, built once per test process.
///
/// # Panics
/// Without Go, which `./dev setup` installs, or if it does not build.
pub fn netprobe() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("netprobe");
        let output = Command::new("go")
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&path)
            .arg("./netprobe")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/peers"))
            .env("CGO_ENABLED", "0")
            .output()
            .expect("Go is installed");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "netprobe does not build: {text}");
        (directory, path)
    });
    path
}

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The image of `examples/hello` as an archive, built once per test process by the example's own script.
///
/// It runs as user `hello`, has all of busybox in `/bin` and serves JSON on `$PORT`.
///
/// # Panics
/// If the script fails.
pub fn hello_archive() -> &'static Path {
    static ARCHIVE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = ARCHIVE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("hello.tar");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/build-image");
        let output = Command::new(script)
            .arg(&path)
            .output()
            .expect("the script can be run");
        assert!(
            output.status.success(),
            "build-image failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        (directory, path)
    });
    path
}

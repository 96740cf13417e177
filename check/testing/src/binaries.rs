use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory with `mayfly` and `mayflyd`, built from this tree.
///
/// `MAYFLY_BIN_DIR` names a directory that is known to be fresh; without it the recipe `./dev binaries` runs once per
/// test process.
///
/// # Panics
/// If the build fails.
pub fn binaries() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(given) = std::env::var_os("MAYFLY_BIN_DIR") {
            return PathBuf::from(given);
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let built = Command::new(workspace.join("dev"))
            .arg("binaries")
            .status()
            .expect("./dev can be run");
        assert!(built.success(), "./dev binaries failed");
        workspace
            .join("target/debug")
            .canonicalize()
            .expect("the build made target/debug")
    })
}

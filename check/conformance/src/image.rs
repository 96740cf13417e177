use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

type Built = OnceLock<(TempDir, PathBuf)>;

/// The image of `examples/hello` as an archive, built once per test process by the example's own script.
///
/// It runs as user `hello`, has all of busybox in `/bin` and serves JSON on `$PORT`.
///
/// # Panics
/// If the script fails.
pub fn hello_archive() -> &'static Path {
    static ARCHIVE: Built = OnceLock::new();
    let (_, path) = ARCHIVE.get_or_init(|| build(&[], &[]));
    path
}

/// The same with `/bin/echo-server`, the program in `check/conformance/echo`, and a few files in `/srv/public`.
///
/// # Panics
/// If the script fails or the program was not built: `./dev setup` does, given Go.
pub fn echo_archive() -> &'static Path {
    static ARCHIVE: Built = OnceLock::new();
    let (_, path) = ARCHIVE.get_or_init(|| {
        let program = tool("echo-server");
        let files = [
            ("style.css", "body { color: teal }\n".repeat(200)),
            ("deep/index.html", "<h1>deep</h1>\n".to_owned()),
        ];
        build(&[(&program, "bin/echo-server")], &files)
    });
    path
}

/// A program that `./dev setup` brings for tests.
///
/// # Panics
/// If it is missing.
pub fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/tools")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run ./dev setup (it needs Go and Python 3)",
        path.display()
    );
    path
}

fn build(programs: &[(&Path, &str)], public: &[(&str, String)]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("image.tar");
    let mut places: Vec<OsString> = Vec::new();
    let mut place = |file: &Path, target: &str| {
        let mut entry = file.as_os_str().to_owned();
        entry.push(":");
        entry.push(target);
        places.push(entry);
    };
    for (program, target) in programs {
        place(program, target);
    }
    for (index, (name, text)) in public.iter().enumerate() {
        let file = directory.path().join(format!("public-{index}"));
        fs::write(&file, text).expect("the temporary directory is writable");
        place(&file, &format!("srv/public/{name}"));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/build-image");
    let output = Command::new(script)
        .arg(&path)
        .args(places)
        .output()
        .expect("the script can be run");
    assert!(
        output.status.success(),
        "build-image failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    (directory, path)
}

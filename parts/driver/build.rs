//! Builds `mayfly-init`, so that it travels inside whatever links this crate.
//!
//! The nested cargo has a target directory of its own (the outer one is locked) and none of the outer build's flags.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of, relative to the workspace.
const SOURCES: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "bin/mayfly-init/Cargo.toml",
    "bin/mayfly-init/src",
    "base/sys/src",
    "base/logs/src",
    "base/tls/src",
    "base/types/src",
    "domain/machine/src",
    "wire/guest/src",
];

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let target = variable("TARGET");
    // Optimising for size takes a minute; only what is shipped needs it.
    let profile = match variable("PROFILE").as_str() {
        "release" => "guest",
        _ => "guest-dev",
    };
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }

    // <target>/<profile>/build/<this crate>/out: shared by all builds, so that a rebuild is a small one.
    let target_dir = out_dir
        .ancestors()
        .nth(4)
        .expect("OUT_DIR is four directories deep")
        .join("init");
    let status = Command::new(variable("CARGO"))
        .current_dir(&workspace)
        .args([
            "build",
            "--quiet",
            "-p",
            "mayfly-init",
            "--profile",
            profile,
        ])
        .args(["--target", &target, "--target-dir"])
        .arg(&target_dir)
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C relocation-model=static",
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "mayfly-init does not build");
    let built = target_dir.join(target).join(profile).join("mayfly-init");
    std::fs::copy(&built, out_dir.join("mayfly-init")).expect("the built program can be copied");
}

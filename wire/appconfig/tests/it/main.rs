//! Configurations as files, read from the outside.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod corpus;
mod edit;
mod lint;
mod machine;
mod schema;

use std::path::{Path, PathBuf};

use mayfly_appconfig::{Format, Reading, read};

/// A file of the corpus.
fn corpus(name: &str) -> String {
    let path = in_crate("tests/corpus").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn toml(text: &str) -> Reading {
    read(text, Format::Toml)
}

/// Compares with a file; MAYFLY_REWRITE_GOLDEN=1 writes it anew, for review as a diff.
#[track_caller]
fn assert_golden(path: &str, text: &str) {
    let path = in_crate(path);
    if std::env::var_os("MAYFLY_REWRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let promised = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, promised, "{}", path.display());
}

//! Small projects of every family, and what is made of them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod families;
mod pipelines;
mod trees;

use std::path::Path;

use mayfly_launch::SourceTree;

/// A tree of files with their contents.
fn tree(files: &[(&str, &str)]) -> SourceTree {
    SourceTree::new(
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))),
    )
}

/// Compares with a file; MAYFLY_REWRITE_GOLDEN=1 writes it anew, for review as a diff.
#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("MAYFLY_REWRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let promised = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, promised, "{}", path.display());
}

//! `.dockerignore`: what a build never needs and an image must never hold.

use crate::tree::SourceTree;

const ALWAYS: [&str; 12] = [
    ".git",
    ".github",
    ".gitignore",
    ".dockerignore",
    "fly.toml",
    "fly.json",
    "fly.yaml",
    "Dockerfile",
    ".env",
    ".env.*",
    "*.pem",
    "*.log",
];

/// The file for a project whose own tools make these paths.
pub(crate) fn dockerignore(tree: &SourceTree, made: &[&str]) -> String {
    let mut lines: Vec<&str> = ALWAYS.to_vec();
    lines.extend(made);
    // An example without values may be wanted by the build.
    if tree.has(".env.example") {
        lines.push("!.env.example");
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

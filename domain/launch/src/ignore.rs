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

/// A `.dockerignore` with the rules of all `.gitignore` files of a tree, which see paths otherwise: a name without a slash
/// is meant at any depth below its file (<https://git-scm.com/docs/gitignore>). `None` if there is no such file.
pub fn dockerignore_of_gitignores(tree: &SourceTree) -> Option<String> {
    let mut lines = Vec::new();
    for (path, text) in tree.sources(".gitignore") {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name != ".gitignore" {
            continue;
        }
        lines.push(format!("# From {path}."));
        lines.extend(text.lines().filter_map(|line| rule_of(directory, line)));
    }
    if lines.is_empty() {
        return None;
    }
    lines.push(".git\n".to_owned());
    Some(lines.join("\n"))
}

/// A line of the `.gitignore` of a directory as one of the root's `.dockerignore`.
fn rule_of(directory: &str, line: &str) -> Option<String> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (sign, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest),
        None => ("", line),
    };
    let pattern = pattern.trim_end_matches('/');
    let anywhere = if pattern.contains('/') { "" } else { "**/" };
    let pattern = pattern.trim_start_matches('/');
    let above = match directory {
        "" => String::new(),
        directory => format!("{directory}/"),
    };
    (!pattern.is_empty()).then(|| format!("{sign}{above}{anywhere}{pattern}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_git_are_said_in_docker_s_way() {
        let file = |path: &str, text: &str| (path.to_owned(), Some(text.to_owned()));
        let tree = SourceTree::new([
            file("web/.gitignore", "dist/\n/own\n"),
            file(
                ".gitignore",
                "# notes\n\n*.log\n!keep.log\n/build/\ndocs/*.pdf  \n/\n",
            ),
            file("web/other.gitignore", "never"),
        ]);
        assert_eq!(
            dockerignore_of_gitignores(&tree).unwrap(),
            "# From .gitignore.\n**/*.log\n!**/keep.log\nbuild\ndocs/*.pdf\n\
             # From web/.gitignore.\nweb/**/dist\nweb/own\n.git\n"
        );
        assert_eq!(dockerignore_of_gitignores(&SourceTree::default()), None);
    }
}

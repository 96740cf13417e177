use crate::ignore::dockerignore;
use crate::project::{Check, Project};
use crate::tree::SourceTree;

/// Plain files: `index.html` in the root, or in the directory a script serves.
pub(super) fn static_site(tree: &SourceTree) -> Option<Project> {
    let directory = if tree.has("index.html") {
        ".".to_owned()
    } else {
        served_directory(tree)?
    };
    let mut project = Project::new("Static", 8080);
    project.file(
        "Dockerfile",
        format!(
            "FROM nginx:alpine\n\
             RUN printf 'server {{\\n  listen 8080;\\n  root /usr/share/nginx/html;\\n  gzip on;\\n  \
             gzip_types text/css application/javascript image/svg+xml;\\n}}\\n' > /etc/nginx/conf.d/default.conf\n\
             COPY {directory} /usr/share/nginx/html\nEXPOSE 8080\n"
        ),
    );
    project.file(
        ".dockerignore",
        dockerignore(tree, &["**/node_modules", "README.md"]),
    );
    project.check = Some(Check {
        path: "/".to_owned(),
        headers: Vec::new(),
    });
    Some(project)
}

/// The last word of a `serve`, `dev` or `web` script that is a directory with an `index.html`.
fn served_directory(tree: &SourceTree) -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(tree.text("package.json")).ok()?;
    ["serve", "dev", "web"].into_iter().find_map(|script| {
        let line = package["scripts"][script].as_str()?;
        let mut words = line
            .split_whitespace()
            .map(|word| word.trim_matches(['.', '/']));
        words
            .rfind(|word| !word.is_empty() && tree.has(&format!("{word}/index.html")))
            .map(str::to_owned)
    })
}

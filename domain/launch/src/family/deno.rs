use crate::ignore::dockerignore;
use crate::project::{Backing, Project};
use crate::text::port_after;
use crate::tree::SourceTree;

/// Deno, by its configuration or the way its sources import.
pub(super) fn deno(tree: &SourceTree) -> Option<Project> {
    let sources = tree.sources(".ts");
    let imports = |text: &str| {
        [
            "from \"https://deno.land/",
            "from 'https://deno.land/",
            "from \"jsr:",
            "Deno.serve",
            "from \"npm:",
        ]
        .iter()
        .any(|mark| text.contains(mark))
    };
    let configured = tree.has_any(&["deno.json", "deno.jsonc"]);
    if !configured && !sources.iter().any(|(_, text)| imports(text)) {
        return None;
    }
    let named = [
        "main.ts",
        "server.ts",
        "mod.ts",
        "index.ts",
        "app.ts",
        "src/main.ts",
        "src/server.ts",
        "main.js",
        "server.js",
    ];
    let entry = tree.first(&named).or_else(|| {
        sources
            .iter()
            .find(|(_, text)| imports(text))
            .map(|(path, _)| *path)
    })?;
    let port = port_after(tree.text(entry), &["port:", "PORT"]).unwrap_or(8080);
    let mut project = Project::new("Deno", port);
    project.file(
        "Dockerfile",
        format!(
            "ARG DENO_VERSION=2.9.8\nFROM denoland/deno:${{DENO_VERSION}}\nWORKDIR /app\n\
             # Deno writes its lock file where there is none.\nRUN chown deno:deno /app\n\
             COPY --chown=deno:deno . .\nUSER deno\nRUN deno cache {entry}\nENV PORT={port}\nEXPOSE {port}\n\
             CMD [\"run\", \"-A\", \"./{entry}\"]\n"
        ),
    );
    project.file(
        ".dockerignore",
        dockerignore(tree, &["**/node_modules", "coverage"]),
    );
    project.env("PORT", port);
    project.processes = vec![("app".to_owned(), format!("run -A ./{entry}"))];
    if sources.iter().any(|(_, text)| text.contains("postgres")) {
        project.wants(Backing::Postgres);
    }
    Some(project)
}

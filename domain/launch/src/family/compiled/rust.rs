use crate::ignore::dockerignore;
use crate::project::{Backing, Project};
use crate::text::port_after;
use crate::tree::SourceTree;

/// Directories a Rust program may read when it runs.
const ASSETS: [&str; 6] = [
    "static",
    "templates",
    "public",
    "assets",
    "migrations",
    "dist",
];

/// Rust, by its manifest; the framework decides how the port is told.
pub(in crate::family) fn rust(tree: &SourceTree) -> Option<Project> {
    if !tree.has_any(&["Cargo.toml", "Cargo.lock"]) {
        return None;
    }
    let manifest: toml::Table = tree.text("Cargo.toml").parse().unwrap_or_default();
    let (package, manifests) = binary(tree, &manifest);
    let program = program(manifests.last().unwrap_or(&manifest)).unwrap_or(&package);
    let needs = |name: &str| {
        manifests.iter().any(|manifest| {
            let tables = [
                Some(manifest),
                manifest.get("workspace").and_then(toml::Value::as_table),
            ];
            tables.into_iter().flatten().any(|table| {
                table
                    .get("dependencies")
                    .and_then(toml::Value::as_table)
                    .is_some_and(|dependencies| dependencies.contains_key(name))
            })
        })
    };
    let family = [
        ("rocket", "Rocket"),
        ("actix-web", "Actix Web"),
        ("warp", "Warp"),
        ("axum", "Axum"),
        ("poem", "Poem"),
    ]
    .into_iter()
    .find(|(name, _)| needs(name))
    .map_or("Rust", |(_, family)| family);
    let sources = tree.sources(".rs");
    let port = sources
        .iter()
        .find_map(|(_, text)| port_after(text, &["0.0.0.0:", "[::]:", "127.0.0.1:", "localhost:"]))
        .filter(|_| family != "Rocket")
        .unwrap_or(8080);
    let locked = if tree.has("Cargo.lock") {
        " --locked"
    } else {
        ""
    };
    let assets: String = ASSETS
        .into_iter()
        .filter(|directory| tree.has_dir(directory))
        .map(|directory| format!("COPY --from=build /src/{directory} ./{directory}\n"))
        .collect();
    let sqlite = needs("rusqlite");
    let libraries =
        if needs("diesel") || needs("openssl") || needs("native-tls") || needs("reqwest") {
            "ca-certificates libssl3 libpq5"
        } else {
            "ca-certificates"
        };
    let mut project = Project::new(family, port);
    project.file(
        "Dockerfile",
        format!(
            "ARG RUST_VERSION=1\nFROM rust:${{RUST_VERSION}}-bookworm AS build\nWORKDIR /src\nCOPY . .\n\
             # Cargo compares times, and a file from elsewhere may be older than what was built last.\n\
             RUN --mount=type=cache,target=/usr/local/cargo/registry \\\n    --mount=type=cache,target=/src/target \\\n    \
             find . -path ./target -prune -o -type f -exec touch {{}} + && \\\n    \
             cargo build --release{locked} --package {package} && cp target/release/{program} /run-app\n\n\
             FROM debian:bookworm-slim\nRUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y {libraries} && \\\n    \
             rm -rf /var/lib/apt/lists/*\nWORKDIR /app\n{assets}COPY --from=build /run-app /usr/local/bin/run-app\n\
             USER nobody\nENV PORT={port}\nEXPOSE {port}\nCMD [\"run-app\"]\n"
        ),
    );
    project.file(".dockerignore", dockerignore(tree, &["target"]));
    if family == "Rocket" {
        project.env("ROCKET_PORT", port);
        project.env("ROCKET_ADDRESS", "0.0.0.0");
    } else {
        project.env("PORT", port);
    }
    let local = sources
        .iter()
        .any(|(_, text)| text.contains("127.0.0.1:") || text.contains("\"localhost"));
    if local && family != "Rocket" {
        project.note("The sources bind 127.0.0.1: bind 0.0.0.0, or requests find nobody.");
    }
    if ["tokio-postgres", "diesel", "sqlx", "sea-orm", "postgres"]
        .iter()
        .any(|name| needs(name))
        && !sqlite
    {
        project.wants(Backing::Postgres);
    }
    if needs("redis") || needs("fred") {
        project.wants(Backing::Redis);
    }
    if needs("aws-sdk-s3") || needs("rust-s3") {
        project.wants(Backing::ObjectStorage);
    }
    Some(project)
}

/// The package that makes the program, with all manifests that may name what it needs.
fn binary(tree: &SourceTree, root: &toml::Table) -> (String, Vec<toml::Table>) {
    let name = |manifest: &toml::Table| {
        manifest
            .get("package")?
            .get("name")?
            .as_str()
            .map(str::to_owned)
    };
    let mut manifests = vec![root.clone()];
    if let Some(own) = name(root) {
        return (own, manifests);
    }
    for (path, text) in tree.sources("Cargo.toml") {
        let Some((directory, _)) = path.rsplit_once('/') else {
            continue;
        };
        let manifest: toml::Table = text.parse().unwrap_or_default();
        if tree.has(&format!("{directory}/src/main.rs"))
            && let Some(own) = name(&manifest)
        {
            manifests.push(manifest);
            return (own, manifests);
        }
    }
    ("app".to_owned(), manifests)
}

/// The program's name, where it is not that of its package.
fn program(manifest: &toml::Table) -> Option<&str> {
    let default = manifest.get("package")?.get("default-run");
    let first = || manifest.get("bin")?.as_array()?.first()?.get("name");
    default.or_else(first)?.as_str()
}

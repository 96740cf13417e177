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
    let Binary {
        package,
        program,
        others,
        manifests,
    } = Binary::find(tree, manifest);
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
    if !others.is_empty() {
        project.note(format!(
            "Of several programs the Dockerfile runs {program} (there is also {}): default-run in Cargo.toml names another.",
            others.join(", ")
        ));
    }
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

/// The program that is run.
struct Binary {
    /// The package that makes it.
    package: String,
    program: String,
    /// What else the package makes.
    others: Vec<String>,
    /// All manifests that may name what it needs, the package's own at the end.
    manifests: Vec<toml::Table>,
}

impl Binary {
    fn find(tree: &SourceTree, root: toml::Table) -> Self {
        if let Some(found) = Self::of(tree, "", &root) {
            return Self {
                manifests: vec![root],
                ..found
            };
        }
        for (path, text) in tree.sources("Cargo.toml") {
            let Some(directory) = path.strip_suffix("Cargo.toml") else {
                continue;
            };
            let manifest: toml::Table = text.parse().unwrap_or_default();
            if let Some(found) = Self::of(tree, directory, &manifest) {
                return Self {
                    manifests: vec![root, manifest],
                    ..found
                };
            }
        }
        let own = name(&root).unwrap_or("app").to_owned();
        Self {
            package: own.clone(),
            program: own,
            others: Vec::new(),
            manifests: vec![root],
        }
    }

    /// The program of the package in `directory`, which ends with `/` or is empty for the root.
    fn of(tree: &SourceTree, directory: &str, manifest: &toml::Table) -> Option<Self> {
        let package = name(manifest)?;
        let mut programs = programs(tree, directory, package, manifest);
        let default = manifest.get("package")?.get("default-run");
        if let Some(default) = default.and_then(toml::Value::as_str) {
            programs = vec![default.to_owned()];
        }
        let program = programs.first()?.clone();
        programs.retain(|other| *other != program);
        Some(Self {
            package: package.to_owned(),
            program,
            others: programs,
            manifests: Vec::new(),
        })
    }
}

fn name(manifest: &toml::Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

/// What a package makes, the likely server first: what its manifest lists, `src/main.rs`, a program with the package's name,
/// those in `src/bin` that listen, the others (<https://doc.rust-lang.org/cargo/guide/project-layout.html>).
fn programs(
    tree: &SourceTree,
    directory: &str,
    package: &str,
    manifest: &toml::Table,
) -> Vec<String> {
    let listed = manifest.get("bin").and_then(toml::Value::as_array);
    let listed: Vec<&toml::Value> = listed.into_iter().flatten().collect();
    let text = |bin: &toml::Value, key: &str| bin.get(key)?.as_str().map(str::to_owned);
    let mut found: Vec<String> = listed.iter().filter_map(|bin| text(bin, "name")).collect();
    let main = "src/main.rs";
    let renamed = listed
        .iter()
        .any(|bin| text(bin, "path").as_deref() == Some(main));
    if tree.has(&format!("{directory}{main}")) && !renamed {
        found.push(package.to_owned());
    }
    let place = format!("{directory}src/bin/");
    let mut others: Vec<(&str, &str)> = tree
        .sources(".rs")
        .into_iter()
        .filter_map(|(path, text)| Some((path.strip_prefix(&place)?.strip_suffix(".rs")?, text)))
        .map(|(program, text)| (program.trim_end_matches("/main"), text))
        .filter(|(program, _)| !program.contains('/'))
        .collect();
    let listens = |text: &str| {
        ["0.0.0.0", "127.0.0.1", "[::]", ".bind(", ".listen("]
            .iter()
            .any(|mark| text.contains(mark))
    };
    others.sort_by_key(|(program, text)| (*program != package, !listens(text)));
    for (program, _) in others {
        if !found.iter().any(|known| known == program) {
            found.push(program.to_owned());
        }
    }
    found
}

use crate::ignore::dockerignore;
use crate::project::{Backing, Project};
use crate::text::{port_after, version_in};
use crate::tree::SourceTree;

/// Directories a Go program may read when it runs.
const ASSETS: [&str; 7] = [
    "static",
    "templates",
    "public",
    "assets",
    "views",
    "migrations",
    "web",
];

/// Go, by its module.
pub(in crate::family) fn go(tree: &SourceTree) -> Option<Project> {
    if !tree.has("go.mod") {
        return None;
    }
    let module = tree.text("go.mod");
    let version = module
        .lines()
        .find_map(|line| version_in(line.trim().strip_prefix("go ")?));
    let version = version.unwrap_or_else(|| "1.24".to_owned());
    let sources = tree.sources(".go");
    let mains = sources.iter().filter(|(path, text)| {
        !path.ends_with("_test.go") && text.lines().any(|line| line.trim() == "package main")
    });
    let main = mains
        .map(|(path, _)| {
            path.rsplit_once('/')
                .map_or(".", |(directory, _)| directory)
        })
        .next();
    let port = sources
        .iter()
        .filter(|(path, _)| !path.ends_with("_test.go"))
        .find_map(|(_, text)| {
            port_after(
                text,
                &[
                    "ListenAndServe(\":",
                    "Addr: \":",
                    ".Run(\":",
                    ".Listen(\":",
                    ".Start(\":",
                ],
            )
        })
        .unwrap_or(8080);
    let needs = |name: &str| module.contains(name);
    let cgo = needs("mattn/go-sqlite3") || needs("confluentinc/confluent-kafka-go");
    let package = match main {
        None | Some(".") => ".".to_owned(),
        Some(directory) => format!("./{directory}"),
    };
    let sums = if tree.has("go.sum") {
        "go.mod go.sum"
    } else {
        "go.mod"
    };
    let vendored = tree.has("vendor/modules.txt");
    let download = if vendored {
        String::new()
    } else {
        format!("COPY {sums} ./\nRUN go mod download && go mod verify\n")
    };
    let assets: String = ASSETS
        .into_iter()
        .filter(|directory| tree.has_dir(directory))
        .map(|directory| format!("COPY --from=build /src/{directory} ./{directory}\n"))
        .collect();
    let mut project = Project::new("Go", port);
    project.build_args = vec![("GO_VERSION".to_owned(), version.clone())];
    project.file(
        "Dockerfile",
        format!(
            "ARG GO_VERSION={version}\nFROM golang:${{GO_VERSION}}-bookworm AS build\nWORKDIR /src\n{download}COPY . .\n\
             RUN --mount=type=cache,target=/root/.cache/go-build \\\n    \
             CGO_ENABLED={cgo} go build -trimpath -ldflags=\"-s -w\" -o /run-app {package}\n\n\
             FROM debian:bookworm-slim\nRUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y ca-certificates tzdata && \\\n    \
             rm -rf /var/lib/apt/lists/*\nWORKDIR /app\n{assets}COPY --from=build /run-app /usr/local/bin/run-app\n\
             USER nobody\nENV PORT={port}\nEXPOSE {port}\nCMD [\"run-app\"]\n",
            cgo = u8::from(cgo),
        ),
    );
    project.file(
        ".dockerignore",
        dockerignore(tree, &["bin", "tmp", "*.test", "*.out"]),
    );
    project.env("PORT", port);
    if main.is_none() {
        project.note("No `package main` was found: the Dockerfile builds the module's root.");
    }
    if !tree.has("go.sum") && module.contains("require") {
        project.note("There is no go.sum: run `go mod tidy` before the first deployment.");
    }
    if needs("lib/pq") || needs("jackc/pgx") {
        project.wants(Backing::Postgres);
    }
    if needs("go-sql-driver/mysql") {
        project.wants(Backing::Mysql);
    }
    if needs("redis/go-redis") || needs("gomodule/redigo") {
        project.wants(Backing::Redis);
    }
    if needs("aws-sdk-go") {
        project.wants(Backing::ObjectStorage);
    }
    Some(project)
}

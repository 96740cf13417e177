mod image;
mod package;

use image::Image;
use package::{Manager, Package};

use crate::ignore::dockerignore;
use crate::project::{Backing, Check, Project, SecretSource};
use crate::text::{port_after, quoted_after};
use crate::tree::SourceTree;

/// What tools make, in the packages of a workspace as well.
const MADE: [&str; 8] = [
    "**/node_modules",
    "npm-debug.log*",
    "**/.next",
    "**/.nuxt",
    "**/.output",
    "**/.svelte-kit",
    "coverage",
    "**/.turbo",
];

/// The file for a package: what its own build makes is not sent, what was built elsewhere is.
fn ignored(tree: &SourceTree, package: &Package, build: Option<&str>) -> String {
    let mut made = MADE.to_vec();
    if build.is_some() {
        let kept = |directory: &&str| !package.script("build").contains(&format!("{directory}/"));
        made.extend(["dist", "build"].into_iter().filter(kept));
    }
    dockerignore(tree, &made)
}

/// How a framework's build is served.
enum Served {
    /// Its output is files: served by nginx from this directory, on this port.
    Files { directory: String, port: u16 },
    /// Its output is a program.
    Program { port: u16, command: Vec<String> },
}

/// A framework: its name, and how it is served.
struct Framework {
    name: &'static str,
    served: Served,
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Any JavaScript framework, by what `package.json` depends on; other projects by their start script.
pub(super) fn framework(tree: &SourceTree) -> Option<Project> {
    let package = Package::read(tree)?;
    let known = recognise(tree, &package);
    if known.is_none() && !package.has_script("start") {
        return None;
    }
    Some(project(tree, &package, known))
}

/// What upstream's older scanners take: projects of Nuxt or Next.js without a start script, and plain programs.
pub(super) fn without_start_script(tree: &SourceTree) -> Option<Project> {
    let package = Package::read(tree)?;
    let has_entry = package.main(tree).is_some();
    (has_entry && !tree.has("index.html")).then(|| project(tree, &package, None))
}

/// RedwoodJS, whose API serves its web side.
pub(super) fn redwood(tree: &SourceTree) -> Option<Project> {
    if !tree.has("redwood.toml") {
        return None;
    }
    let package = Package::read(tree)?;
    let mut project = Project::new("RedwoodJS", 8910);
    let sqlite = prisma_provider(tree).as_deref() == Some("sqlite");
    let image = Image {
        build: vec!["npx --yes redwood build".to_owned()],
        keep_dev: true,
        command: words("npx redwood serve --port 8910"),
        port: 8910,
        ..Image::default()
    };
    project.file("Dockerfile", image.node(tree, &package));
    project.file(
        ".dockerignore",
        ignored(tree, &package, Some("redwood build")),
    );
    project.env("PORT", 8910);
    project.env("REDWOOD_DISABLE_TELEMETRY", 1);
    if sqlite {
        project.mount("data", "/data");
        project.env("DATABASE_URL", "file:/data/app.db");
        project.env("MIGRATE_ON_BOOT", 1);
        project.note("SQLite lives on the volume at /data: run `npx prisma migrate deploy` when the app starts.");
    } else {
        project.wants(Backing::Postgres);
        project.migrates(
            "Prisma",
            "npx prisma migrate deploy --schema api/db/schema.prisma",
        );
    }
    project.hungry_runtime = Some("Node");
    Some(project)
}

/// The framework, the more special ones first.
fn recognise(tree: &SourceTree, package: &Package) -> Option<Framework> {
    let has = |name: &str| package.needs(name);
    let program = |name, port, command: &str| {
        Some(Framework {
            name,
            served: Served::Program {
                port,
                command: words(command),
            },
        })
    };
    let files = |name, directory: &str, port| {
        let directory = directory.to_owned();
        Some(Framework {
            name,
            served: Served::Files { directory, port },
        })
    };
    let start = package.start_line();
    if has("astro") {
        return if has("@astrojs/node") {
            program("Astro (SSR)", 4321, "node ./dist/server/entry.mjs")
        } else {
            files("Astro", "dist", 80)
        };
    }
    if has("@adonisjs/core") {
        return program("AdonisJS", 3333, "node build/bin/server.js");
    }
    if has("gatsby") {
        return files("Gatsby", "public", 8080);
    }
    if tree.has(".meteor/release") {
        return program("Meteor", 3000, "node main.js");
    }
    if has("@nestjs/core") {
        return program("NestJS", 3000, "node dist/main");
    }
    if has("next") {
        return program(
            "Next.js",
            3000,
            if standalone(tree) {
                "node server.js"
            } else {
                "npx next start"
            },
        );
    }
    if has("nuxt") || tree.has_any(&["nuxt.config.ts", "nuxt.config.js"]) {
        return program("Nuxt", 3000, "node .output/server/index.mjs");
    }
    if tree.has("shopify.app.toml") {
        return program(
            "Shopify",
            3000,
            if package.has_script("docker-start") {
                "npm run docker-start"
            } else {
                start
            },
        );
    }
    if has("@remix-run/node") || has("@remix-run/serve") || has("@remix-run/react") {
        return program("Remix", 3000, start);
    }
    if has("@react-router/node") || has("@react-router/serve") {
        return program("React Router", 3000, start);
    }
    if has("@sveltejs/kit") {
        return if has("@sveltejs/adapter-static") {
            files("SvelteKit", "build", 80)
        } else {
            program("SvelteKit", 3000, "node build")
        };
    }
    if has("vite") && (!package.has_script("start") || package.script("start").contains("vite")) {
        let named = VITE_CONFIGS
            .iter()
            .find_map(|file| quoted_after(tree.text(file), "outDir"));
        let directory = named.unwrap_or("dist").trim_start_matches("./");
        return files("Vite", directory.trim_end_matches('/'), 80);
    }
    if has("react-scripts") {
        return files("Create React App", "build", 80);
    }
    None
}

const VITE_CONFIGS: [&str; 4] = [
    "vite.config.js",
    "vite.config.mjs",
    "vite.config.ts",
    "vite.config.mts",
];

/// Whether Next.js is told to write a server that needs nothing else.
fn standalone(tree: &SourceTree) -> bool {
    ["next.config.js", "next.config.mjs", "next.config.ts"]
        .iter()
        .any(|file| {
            let text = tree.text(file);
            text.contains("output:")
                && (text.contains("'standalone'") || text.contains("\"standalone\""))
        })
}

fn project(tree: &SourceTree, package: &Package, known: Option<Framework>) -> Project {
    let is_bun = package.manager == Manager::Bun;
    let (name, served) = match known {
        Some(framework) => (framework.name, framework.served),
        None => {
            let port = source_port(tree).unwrap_or(3000);
            let command = match package.main(tree) {
                Some(main) if !package.has_script("start") => {
                    format!("{} {main}", package.manager.runtime())
                }
                _ => package.start_line().to_owned(),
            };
            let name = if is_bun { "Bun" } else { "NodeJS" };
            (
                name,
                Served::Program {
                    port,
                    command: words(&command),
                },
            )
        }
    };
    let build = package.build_command(name);
    let ignored = ignored(tree, package, build.as_deref());
    let (port, dockerfile) = match served {
        Served::Files { directory, port } => {
            (port, Image::files(tree, package, &build, &directory, port))
        }
        Served::Program { port, command } => {
            let mut image = Image {
                build: build.into_iter().collect(),
                keep_dev: package.needs_dev_at_run_time(),
                command: if is_bun {
                    package.bun_command(command)
                } else {
                    command
                },
                port,
                ..Image::default()
            };
            frame(name, tree, &mut image);
            (
                port,
                if name == "Meteor" {
                    image::METEOR.to_owned()
                } else {
                    image.node(tree, package)
                },
            )
        }
    };
    let mut project = Project::new(name, port);
    project.file("Dockerfile", dockerfile);
    project.file(".dockerignore", ignored);
    if port != 80 {
        project.env("PORT", port);
        project.hungry_runtime = Some(if is_bun { "Bun" } else { "Node" });
    }
    describe(name, tree, &mut project);
    backing(tree, package, &mut project);
    project
}

/// What a framework's image has beside the usual.
fn frame(name: &str, tree: &SourceTree, image: &mut Image) {
    match name {
        "Next.js" => {
            image.env.push(("HOSTNAME", "0.0.0.0"));
            image.env.push(("NEXT_TELEMETRY_DISABLED", "1"));
            if standalone(tree) {
                image.copies = vec![
                    (".next/standalone".to_owned(), "./".to_owned()),
                    (".next/static".to_owned(), ".next/static".to_owned()),
                ];
                if tree.has_dir("public") {
                    image
                        .copies
                        .push(("public".to_owned(), "public".to_owned()));
                }
            }
        }
        "Nuxt" => {
            image.env.push(("HOST", "0.0.0.0"));
            image.copies = vec![(".output".to_owned(), ".output".to_owned())];
        }
        "Astro (SSR)" | "AdonisJS" | "SvelteKit" | "NestJS" => image.env.push(("HOST", "0.0.0.0")),
        _ => {}
    }
}

/// What a framework needs of the platform.
fn describe(name: &str, tree: &SourceTree, project: &mut Project) {
    match name {
        "Next.js" if !standalone(tree) => {
            project.note("Set output: \"standalone\" in next.config.js and launch again: the image becomes several times smaller.");
        }
        "Remix" | "React Router" => project.secret("SESSION_SECRET", SecretSource::Random(32)),
        "AdonisJS" => project.secret("APP_KEY", SecretSource::Random(32)),
        "Meteor" => project.env("ROOT_URL", "APP_URL"),
        "Shopify" => project.env("SHOPIFY_APP_URL", "APP_URL"),
        "SvelteKit" => {
            project.env("ORIGIN", "APP_URL");
            let package = tree.text("package.json");
            if !package.contains("adapter-node") && !package.contains("adapter-static") {
                project.note("SvelteKit needs @sveltejs/adapter-node here: npm install --save-dev it and name it in svelte.config.js.");
            }
        }
        "Gatsby" | "Vite" | "Create React App" | "Astro" => {
            project.check = Some(Check {
                path: "/".to_owned(),
                headers: Vec::new(),
            });
        }
        _ => {}
    }
}

/// The port in `listen(…)` or behind `PORT`.
fn source_port(tree: &SourceTree) -> Option<u16> {
    [".js", ".mjs", ".ts", ".cjs"]
        .into_iter()
        .find_map(|ending| {
            tree.sources(ending)
                .into_iter()
                .filter(|(path, _)| !path.contains("test") && path.matches('/').count() <= 2)
                .find_map(|(_, text)| {
                    port_after(text, &["process.env.PORT", "env.PORT", ".listen(", "port:"])
                })
        })
}

/// `provider` of the Prisma schema's data source.
fn prisma_provider(tree: &SourceTree) -> Option<String> {
    let path = tree.paths().find(|path| path.ends_with("schema.prisma"))?;
    let text = tree.text(path);
    let source = &text[text.find("datasource")?..];
    quoted_after(source.get(source.find("provider")?..)?, "provider").map(str::to_owned)
}

fn backing(tree: &SourceTree, package: &Package, project: &mut Project) {
    let any = |names: &[&str]| names.iter().any(|name| package.needs(name));
    let provider = prisma_provider(tree);
    let sqlite = provider.as_deref() == Some("sqlite")
        || provider.is_none()
            && any(&["better-sqlite3", "sqlite3", "sqlite"])
            && !any(&["pg", "postgres", "mysql2"]);
    if matches!(
        provider.as_deref(),
        Some("postgresql" | "postgres" | "cockroachdb")
    ) || provider.is_none() && any(&["pg", "postgres", "@neondatabase/serverless"])
    {
        project.wants(Backing::Postgres);
    }
    if provider.as_deref() == Some("mysql") || provider.is_none() && any(&["mysql", "mysql2"]) {
        project.wants(Backing::Mysql);
    }
    if any(&["redis", "ioredis", "bullmq", "bull"]) {
        project.wants(Backing::Redis);
    }
    if any(&["@aws-sdk/client-s3", "aws-sdk"]) {
        project.wants(Backing::ObjectStorage);
    }
    if sqlite {
        project.mount("data", "/data");
        project.env("DATABASE_URL", "file:/data/app.db");
    }
    let tool = [
        ("prisma", "Prisma", "npx prisma migrate deploy"),
        ("drizzle-kit", "Drizzle", "npx drizzle-kit migrate"),
        ("knex", "Knex", "npx knex migrate:latest"),
        ("sequelize-cli", "Sequelize", "npx sequelize-cli db:migrate"),
    ]
    .into_iter()
    .find(|(name, ..)| package.needs(name));
    if let Some((_, tool, command)) = tool {
        project.migrates(tool, command);
        if sqlite {
            project.note(format!(
                "SQLite lives on the volume at /data: run `{command}` when the app starts."
            ));
        }
    }
}

use crate::ignore::dockerignore;
use crate::project::{Backing, Project, SecretSource};
use crate::text::version_in;
use crate::tree::SourceTree;

/// The name in `app: :name`.
fn app_name(mix: &str) -> Option<&str> {
    let rest = &mix[mix.find("app: :")? + "app: :".len()..];
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
    Some(&rest[..end])
}

/// `my_app` as `MyApp`.
fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect()
}

fn elixir_version(mix: &str) -> String {
    let line = mix
        .lines()
        .find(|line| line.trim_start().starts_with("elixir:"));
    let asked = line.and_then(version_in).unwrap_or_default();
    // An old lower bound says little; what builds Phoenix today is newer.
    if asked.as_str() > "1.17" && asked.len() == 4 {
        asked
    } else {
        "1.18".to_owned()
    }
}

/// Lines that bring the dependencies, and the sources with them where some are part of the project.
fn dependencies(tree: &SourceTree, mix: &str) -> String {
    let copy = |directory: &str| {
        if tree.has_dir(directory) {
            format!("COPY {directory} {directory}\n")
        } else {
            String::new()
        }
    };
    // An app without dependencies needs none of the tools that fetch and build them.
    let tools = if mix.contains("{:") || mix.contains("apps_path:") {
        "RUN mix local.hex --force --if-missing && mix local.rebar --force --if-missing\n"
    } else {
        ""
    };
    // The apps of an umbrella, and dependencies by their path, are read when dependencies are.
    if mix.contains("apps_path:") || mix.contains(", path: ") {
        return format!("{tools}COPY . .\nRUN mix deps.get --only prod && mix deps.compile\n");
    }
    let lock = if tree.has("mix.lock") {
        "mix.exs mix.lock"
    } else {
        "mix.exs"
    };
    format!(
        "{tools}COPY {lock} ./\n{}RUN mix deps.get --only prod && mix deps.compile\n{}{}{}",
        copy("config"),
        copy("priv"),
        copy("lib"),
        copy("assets"),
    )
}

/// An Elixir release.
fn dockerfile(tree: &SourceTree, app: &str, port: u16, command: &str) -> String {
    let mix = tree.text("mix.exs");
    let assets = if mix.contains("assets.deploy") {
        "RUN mix assets.deploy\n"
    } else {
        ""
    };
    format!(
        "ARG ELIXIR_VERSION={version}\n\
         FROM elixir:${{ELIXIR_VERSION}}-slim AS build\n\
         RUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y build-essential git && \\\n    rm -rf /var/lib/apt/lists/*\n\
         WORKDIR /app\nENV MIX_ENV=prod\n{dependencies}RUN mix compile\n{assets}{rel}RUN mix release\n\n\
         # Of the same distribution: the release brings programs that were linked there.\n\
         FROM elixir:${{ELIXIR_VERSION}}-slim\n\
         RUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y libstdc++6 openssl libncurses6 locales ca-certificates && \\\n    \
         rm -rf /var/lib/apt/lists/*\n\
         ENV LANG=C.UTF-8 MIX_ENV=prod\nWORKDIR /app\nRUN chown nobody /app\n\
         COPY --from=build --chown=nobody:root /app/_build/prod/rel/{app} ./\n\
         USER nobody\nEXPOSE {port}\nCMD {command}\n",
        version = elixir_version(mix),
        dependencies = dependencies(tree, mix),
        rel = "COPY rel rel\n",
    )
}

/// How nodes of one app find each other by their private network.
const ENV_SCRIPT: &str = "#!/bin/sh\n\
# Nodes of the app see each other over IPv6, by the address and the image of their machine.\n\
export ERL_AFLAGS=\"-proto_dist inet6_tcp\"\n\
export ECTO_IPV6=\"true\"\n\
export DNS_CLUSTER_QUERY=\"${FLY_APP_NAME}.internal\"\n\
export RELEASE_DISTRIBUTION=\"name\"\n\
export RELEASE_NODE=\"${FLY_APP_NAME}-${FLY_IMAGE_REF##*[:-]}@${FLY_PRIVATE_IP}\"\n";

/// Phoenix, as a release.
pub(super) fn phoenix(tree: &SourceTree) -> Option<Project> {
    let mix = tree.text("mix.exs");
    if !mix.contains(":phoenix,") && !mix.contains(":phoenix ") {
        return None;
    }
    let app = app_name(mix).unwrap_or("app");
    let mut project = Project::new("Phoenix", 8080);
    let command = if tree.has("rel/overlays/bin/server") {
        "[\"/app/bin/server\"]".to_owned()
    } else {
        format!("[\"/app/bin/{app}\", \"start\"]")
    };
    project.file("Dockerfile", dockerfile(tree, app, 8080, &command));
    project.file(
        ".dockerignore",
        dockerignore(
            tree,
            &[
                "_build",
                "deps",
                "**/node_modules",
                "priv/static/assets",
                "test",
            ],
        ),
    );
    if !tree.has("rel/env.sh.eex") {
        project.script("rel/env.sh.eex", ENV_SCRIPT);
    }
    project.env("PHX_SERVER", "true");
    project.env("PHX_HOST", "APP_FQDN");
    project.env("PORT", 8080);
    project.secret(
        "SECRET_KEY_BASE",
        SecretSource::RandomBase64 {
            bytes: 48,
            prefix: "",
        },
    );
    project.kill_signal = Some("SIGTERM");
    project.swap_mib = Some(512);
    project.concurrency = Some((1000, 1000));
    if mix.contains(":ecto_sqlite3") {
        project.mount(app, &format!("/mnt/{app}"));
        project.env("DATABASE_PATH", format!("/mnt/{app}/{app}.db"));
        project.wants(Backing::ObjectStorage);
        project.note("SQLite lives on a volume: migrate when the app starts, and replicate it to the bucket with Litestream.");
    }
    if mix.contains(":postgrex") {
        project.wants(Backing::Postgres);
    }
    if mix.contains(":myxql") {
        project.wants(Backing::Mysql);
    }
    if mix.contains(":redix") || mix.contains("redis") {
        project.wants(Backing::Redis);
    }
    if mix.contains(":ex_aws_s3") {
        project.wants(Backing::ObjectStorage);
    }
    if mix.contains(":ecto_sql") || mix.contains(":postgrex") {
        let release = format!("lib/{app}/release.ex");
        let module = camel(app);
        if tree.has("rel/overlays/bin/migrate") {
            project.migrates("Ecto", "/app/bin/migrate");
        } else if tree.has(&release) {
            project.migrates(
                "Ecto",
                &format!("/app/bin/{app} eval {module}.Release.migrate"),
            );
        } else {
            project.file(&release, release_module(app, &module));
            project.migrates(
                "Ecto",
                &format!("/app/bin/{app} eval {module}.Release.migrate"),
            );
        }
    }
    project.console_command = Some(format!("/app/bin/{app} remote"));
    Some(project)
}

/// A module through which a release migrates, where the project has none.
fn release_module(app: &str, module: &str) -> String {
    format!(
        "defmodule {module}.Release do\n  @moduledoc \"Tasks of a release, which has no Mix.\"\n  @app :{app}\n\n  \
         def migrate do\n    Application.load(@app)\n\n    for repo <- Application.fetch_env!(@app, :ecto_repos) do\n      \
         {{:ok, _, _}} = Ecto.Migrator.with_repo(repo, &Ecto.Migrator.run(&1, :up, all: true))\n    end\n  end\nend\n"
    )
}

/// Elixir without Phoenix.
pub(super) fn elixir(tree: &SourceTree) -> Option<Project> {
    if !tree.has("mix.exs") {
        return None;
    }
    let app = app_name(tree.text("mix.exs")).unwrap_or("app");
    let mut project = Project::new("Elixir", 8080);
    let text = dockerfile(tree, app, 8080, &format!("[\"/app/bin/{app}\", \"start\"]"));
    let text = if tree.has_dir("rel") {
        text
    } else {
        text.replace("COPY rel rel\n", "")
    };
    project.file("Dockerfile", text);
    project.file(
        ".dockerignore",
        dockerignore(tree, &["_build", "deps", "test"]),
    );
    project.env("PORT", 8080);
    Some(project)
}

use crate::ignore::dockerignore;
use crate::project::{Backing, Project};
use crate::text::{quoted_after, version_in};
use crate::tree::SourceTree;

/// Whether the app depends on a gem.
pub(super) fn gem(tree: &SourceTree, name: &str) -> bool {
    let quoted = [format!("gem \"{name}\""), format!("gem '{name}'")];
    let in_gemfile = tree.text("Gemfile").lines().any(|line| {
        quoted
            .iter()
            .any(|quoted| line.trim_start().starts_with(quoted.as_str()))
    });
    let locked = format!("    {name} (");
    in_gemfile
        || tree
            .text("Gemfile.lock")
            .lines()
            .any(|line| line.starts_with(&locked))
}

/// The Ruby the project asks for.
pub(super) fn ruby_version(tree: &SourceTree) -> String {
    let own = version_in(tree.text(".ruby-version"));
    let gemfile = tree.text("Gemfile");
    let line = gemfile
        .lines()
        .find(|line| line.trim_start().starts_with("ruby "));
    own.or_else(|| version_in(quoted_after(line?, "ruby ")?))
        .unwrap_or_else(|| "3.3".to_owned())
}

fn dockerfile(tree: &SourceTree, steps: &str, port: u16, command: &str) -> String {
    let lock = if tree.has("Gemfile.lock") {
        "Gemfile Gemfile.lock"
    } else {
        "Gemfile"
    };
    format!(
        "ARG RUBY_VERSION={version}\nFROM ruby:${{RUBY_VERSION}}-slim AS base\nWORKDIR /app\n\
         ENV BUNDLE_PATH=/usr/local/bundle BUNDLE_WITHOUT=development:test\n\n\
         FROM base AS build\nRUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y build-essential git libyaml-dev libpq-dev && \\\n    \
         rm -rf /var/lib/apt/lists/*\nCOPY {lock} ./\nRUN bundle install\nCOPY . .\n{steps}\n\
         FROM base\nRUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y libpq5 && \\\n    rm -rf /var/lib/apt/lists/*\n\
         COPY --from=build /usr/local/bundle /usr/local/bundle\nCOPY --from=build /app /app\n\
         RUN useradd --create-home --uid 1000 app && chown -R app:app /app\nUSER app\nENV PORT={port}\nEXPOSE {port}\nCMD {command}\n",
        version = ruby_version(tree),
    )
}

const MADE: [&str; 4] = ["log/*", "tmp/*", "vendor/bundle", "**/node_modules"];

/// Bridgetown, a generator of sites with a server.
pub(super) fn bridgetown(tree: &SourceTree) -> Option<Project> {
    if !gem(tree, "bridgetown") {
        return None;
    }
    let mut project = Project::new("Bridgetown", 4000);
    let steps = if tree.has("package.json") {
        "COPY --from=node:22-slim /usr/local /usr/local/node\nENV PATH=/usr/local/node/bin:$PATH\nRUN npm install\n\
         ENV BRIDGETOWN_ENV=production\nRUN bundle exec bridgetown frontend:build && bundle exec bridgetown build\n"
    } else {
        "ENV BRIDGETOWN_ENV=production\nRUN bundle exec bridgetown build\n"
    };
    let command = "[\"bundle\", \"exec\", \"bridgetown\", \"start\", \"--bind\", \"tcp://0.0.0.0:4000\", \"--skip-live-reload\"]";
    project.file("Dockerfile", dockerfile(tree, steps, 4000, command));
    project.file(".dockerignore", dockerignore(tree, &MADE));
    project.env("BRIDGETOWN_ENV", "production");
    project
        .statics
        .push(("/app/output".to_owned(), "/".to_owned()));
    project.hungry_runtime = Some("Ruby");
    Some(project)
}

/// Any other Ruby app: a Rack server where there is a `config.ru`.
pub(super) fn ruby(tree: &SourceTree) -> Option<Project> {
    if !tree.has_any(&["Gemfile", "config.ru"]) {
        return None;
    }
    let mut project = Project::new("Ruby", 8080);
    let command = if tree.has("config.ru") && gem(tree, "puma") {
        "[\"bundle\", \"exec\", \"puma\", \"-b\", \"tcp://0.0.0.0:8080\"]".to_owned()
    } else if tree.has("config.ru") {
        "[\"bundle\", \"exec\", \"rackup\", \"--host\", \"0.0.0.0\", \"--port\", \"8080\"]"
            .to_owned()
    } else {
        let entry = tree
            .first(&["app.rb", "main.rb", "server.rb"])
            .unwrap_or("app.rb");
        project.note(format!(
            "There is no config.ru: the Dockerfile runs {entry}; check its CMD."
        ));
        format!(
            "[\"bundle\", \"exec\", \"ruby\", \"{entry}\", \"-o\", \"0.0.0.0\", \"-p\", \"8080\"]"
        )
    };
    project.file("Dockerfile", dockerfile(tree, "", 8080, &command));
    project.file(".dockerignore", dockerignore(tree, &MADE));
    project.env("PORT", 8080);
    if gem(tree, "pg") {
        project.wants(Backing::Postgres);
    }
    if gem(tree, "redis") || gem(tree, "sidekiq") {
        project.wants(Backing::Redis);
    }
    if gem(tree, "aws-sdk-s3") {
        project.wants(Backing::ObjectStorage);
    }
    project.hungry_runtime = Some("Ruby");
    Some(project)
}

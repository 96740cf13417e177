use super::ruby::{gem, ruby_version};
use crate::ignore::dockerignore;
use crate::project::{Backing, Check, Project, SecretSource};
use crate::tree::SourceTree;

/// Ruby on Rails.
pub(super) fn rails(tree: &SourceTree) -> Option<Project> {
    let lock = tree.text("Gemfile.lock");
    let is_rails = tree.has("bin/rails")
        || tree.text("config.ru").contains("Rails")
        || lock
            .lines()
            .any(|line| line.trim_start().starts_with("rails ("));
    if !is_rails {
        return None;
    }
    let mut project = Project::new("Rails", 3000);
    let adapter = |name: &str| tree.text("config/database.yml").contains(name);
    let postgres = gem(tree, "pg") || adapter("postgresql");
    let mysql = gem(tree, "mysql2") || gem(tree, "trilogy") || adapter("mysql");
    let sqlite = !postgres
        && !mysql
        && (gem(tree, "sqlite3") || gem(tree, "litestack") || adapter("sqlite"));
    project.file("Dockerfile", dockerfile(tree, postgres, mysql, sqlite));
    project.file(
        ".dockerignore",
        dockerignore(
            tree,
            &[
                "log/*",
                "tmp/*",
                "storage/*",
                "**/node_modules",
                "public/assets",
                "config/master.key",
                "config/credentials/*.key",
                "*.sqlite3*",
            ],
        ),
    );
    if tree.has("config/master.key") {
        project.secret("RAILS_MASTER_KEY", SecretSource::File("config/master.key"));
    } else {
        project.secret("SECRET_KEY_BASE", SecretSource::Random(64));
    }
    if postgres {
        project.wants(Backing::Postgres);
    }
    if mysql {
        project.wants(Backing::Mysql);
    }
    let production = tree.text("config/environments/production.rb");
    let streams = tree
        .sources(".rb")
        .iter()
        .any(|(_, text)| text.contains("turbo_stream_from"));
    let cable = tree.text("config/cable.yml").contains("redis");
    if gem(tree, "redis")
        || gem(tree, "sidekiq")
        || cable
        || streams && production.contains("redis")
    {
        project.wants(Backing::Redis);
    }
    if gem(tree, "aws-sdk-s3")
        || tree.text("config/storage.yml").contains("service: S3") && production.contains(":amazon")
    {
        project.wants(Backing::ObjectStorage);
    }
    if sqlite {
        let place = if keeps_databases_in_storage(tree) {
            "/rails/storage"
        } else {
            project.env("DATABASE_URL", "sqlite3:///data/production.sqlite3");
            "/data"
        };
        project.mount("data", place);
        project.note(format!("SQLite lives on the volume at {place}: bin/docker-entrypoint prepares it when the app starts."));
    }
    if gem(tree, "sidekiq") {
        project.processes = vec![
            ("app".to_owned(), "./bin/rails server".to_owned()),
            ("worker".to_owned(), "bundle exec sidekiq".to_owned()),
        ];
    }
    project.migrates("Rails", "bin/rails db:prepare");
    if !postgres && !mysql {
        project.release_command = None;
    }
    if sqlite && !tree.has("bin/docker-entrypoint") {
        project.script(
            "bin/docker-entrypoint",
            "#!/bin/bash -e\n\n# The database is prepared before the server starts, since it is on this machine's volume.\n\
             if [ \"${*: -2:1}\" == \"./bin/rails\" ] && [ \"${*: -1:1}\" == \"server\" ]; then\n  ./bin/rails db:prepare\nfi\n\nexec \"${@}\"\n",
        );
    }
    project.console_command = Some("/rails/bin/rails console".to_owned());
    if tree.text("config/routes.rb").contains("rails/health#show") {
        project.check = Some(Check {
            path: "/up".to_owned(),
            headers: vec![("X-Forwarded-Proto".to_owned(), "https".to_owned())],
        });
    }
    project.hungry_runtime = Some("Ruby");
    Some(project)
}

/// Since Rails 7.1 files of SQLite are in `storage`, several of them since 8.
fn keeps_databases_in_storage(tree: &SourceTree) -> bool {
    tree.text("config/database.yml").contains("storage/")
}

fn dockerfile(tree: &SourceTree, postgres: bool, mysql: bool, sqlite: bool) -> String {
    let mut build = vec!["build-essential", "git", "libyaml-dev", "pkg-config"];
    let mut run = vec!["curl", "libjemalloc2", "libvips"];
    if postgres {
        build.push("libpq-dev");
        run.push("postgresql-client");
    }
    if mysql {
        build.push("default-libmysqlclient-dev");
        run.push("default-mysql-client");
    }
    if sqlite {
        run.push("sqlite3");
    }
    let apt = |packages: &[&str]| {
        format!(
            "RUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y {} && \\\n    rm -rf /var/lib/apt/lists/*\n",
            packages.join(" ")
        )
    };
    let node = if tree.has("package.json") {
        "COPY --from=node:22-slim /usr/local /usr/local/node\nENV PATH=/usr/local/node/bin:$PATH\n"
    } else {
        ""
    };
    let packages = match (tree.has("package.json"), tree.has("yarn.lock")) {
        (true, true) => {
            "COPY package.json yarn.lock ./\nRUN npm install --global yarn && yarn install --frozen-lockfile\n"
        }
        (true, false) if tree.has("package-lock.json") => "COPY package*.json ./\nRUN npm ci\n",
        (true, false) => "COPY package.json ./\nRUN npm install\n",
        (false, _) => "",
    };
    let bootsnap = if gem(tree, "bootsnap") {
        "RUN bundle exec bootsnap precompile --gemfile app/ lib/\n"
    } else {
        ""
    };
    let assets = if gem(tree, "sprockets-rails")
        || gem(tree, "propshaft")
        || tree.has_dir("app/assets")
    {
        "# Rails before 7.1 knows no dummy.\nRUN SECRET_KEY_BASE_DUMMY=1 SECRET_KEY_BASE=only-to-precompile ./bin/rails assets:precompile\n"
    } else {
        ""
    };
    let lock = if tree.has("Gemfile.lock") {
        "Gemfile Gemfile.lock"
    } else {
        "Gemfile"
    };
    let entrypoint = if tree.has("bin/docker-entrypoint") || sqlite {
        "ENTRYPOINT [\"/rails/bin/docker-entrypoint\"]\n"
    } else {
        ""
    };
    let data = if sqlite && !keeps_databases_in_storage(tree) {
        " && \\\n    mkdir /data && chown rails:rails /data"
    } else {
        ""
    };
    format!(
        "ARG RUBY_VERSION={version}\nFROM ruby:${{RUBY_VERSION}}-slim AS base\nWORKDIR /rails\n\
         ENV RAILS_ENV=production BUNDLE_DEPLOYMENT={deployment} BUNDLE_PATH=/usr/local/bundle BUNDLE_WITHOUT=development:test\n{runtime}\n\
         FROM base AS build\n{tools}{node}COPY {lock} ./\n\
         RUN bundle install && rm -rf ~/.bundle/ \"${{BUNDLE_PATH}}\"/ruby/*/cache\n{packages}COPY . .\n{bootsnap}{assets}\n\
         FROM base\nCOPY --from=build /usr/local/bundle /usr/local/bundle\nCOPY --from=build /rails /rails\n\
         RUN useradd --create-home --uid 1000 --shell /bin/bash rails && \\\n    mkdir -p db log storage tmp && \\\n    \
         chown -R rails:rails db log storage tmp{data}\nUSER rails:rails\n{entrypoint}\
         ENV RAILS_LOG_TO_STDOUT=1 RAILS_SERVE_STATIC_FILES=1 LD_PRELOAD=libjemalloc.so.2\nEXPOSE 3000\nCMD [\"./bin/rails\", \"server\"]\n",
        version = ruby_version(tree),
        deployment = u8::from(tree.has("Gemfile.lock")),
        runtime = apt(&run),
        tools = apt(&build),
    )
}

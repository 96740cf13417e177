use crate::ignore::dockerignore;
use crate::project::{Backing, Project, SecretSource};
use crate::text::version_in;
use crate::tree::SourceTree;

/// Laravel, by its `artisan`.
pub(super) fn laravel(tree: &SourceTree) -> Option<Project> {
    if !tree.has("artisan") {
        return None;
    }
    let mut project = Project::new("Laravel", 8080);
    let composer: serde_json::Value =
        serde_json::from_str(tree.text("composer.json")).unwrap_or_default();
    let requires = |name: &str| {
        composer["require"]
            .get(name)
            .and_then(serde_json::Value::as_str)
    };
    let php = requires("php")
        .and_then(version_in)
        .unwrap_or_else(|| "8.3".to_owned());
    // The images of the server begin with 8.1.
    let php = if php.starts_with('7') || php == "8.0" {
        "8.1".to_owned()
    } else {
        php
    };
    project.build_args = vec![("PHP_VERSION".to_owned(), php.clone())];
    let has_assets = tree.has("package.json");
    let (node, assets) = if has_assets {
        project
            .build_args
            .push(("NODE_VERSION".to_owned(), "22".to_owned()));
        (
            "ARG NODE_VERSION=22\n",
            "FROM node:${NODE_VERSION}-slim AS assets\nWORKDIR /app\nCOPY . .\n\
             RUN if [ -f package-lock.json ]; then npm ci; else npm install; fi && npm run build\n\n",
        )
    } else {
        ("", "")
    };
    let copy_assets = if has_assets {
        "COPY --from=assets --chown=www-data:www-data /app/public /var/www/html/public\n"
    } else {
        ""
    };
    let env = Settings::of(tree);
    let sqlite = env.get("DB_CONNECTION") == "sqlite";
    let data = if sqlite {
        "USER root\nRUN mkdir /data && chown www-data:www-data /data\n"
    } else {
        ""
    };
    project.file(
        "Dockerfile",
        format!(
            "ARG PHP_VERSION={php}\n{node}\
             FROM composer:2 AS vendor\nWORKDIR /app\nCOPY composer.* ./\n\
             RUN composer install --no-dev --no-interaction --no-scripts --no-autoloader --ignore-platform-reqs\n\
             COPY . .\nRUN composer dump-autoload --no-dev --optimize --no-scripts && \\\n    \
             mkdir -p bootstrap/cache storage/logs storage/framework/cache storage/framework/sessions storage/framework/views\n\n\
             {assets}\
             FROM serversideup/php:${{PHP_VERSION}}-fpm-nginx\n\
             ENV PHP_OPCACHE_ENABLE=1 SSL_MODE=off\nWORKDIR /var/www/html\n{data}\
             COPY --from=vendor --chown=www-data:www-data /app /var/www/html\n\
             {copy_assets}\
             USER www-data\nEXPOSE 8080\n"
        ),
    );
    project.file(
        ".dockerignore",
        dockerignore(
            tree,
            &[
                "vendor",
                "**/node_modules",
                "public/build",
                "storage/logs/*",
                "storage/framework/cache/*",
                "bootstrap/cache/*",
            ],
        ),
    );
    for (name, value) in [
        ("APP_ENV", "production"),
        ("LOG_CHANNEL", "stderr"),
        ("LOG_LEVEL", "info"),
        ("LOG_STDERR_FORMATTER", "Monolog\\Formatter\\JsonFormatter"),
        ("SESSION_DRIVER", "cookie"),
        ("SESSION_SECURE_COOKIE", "true"),
    ] {
        project.env(name, value);
    }
    project.secret(
        "APP_KEY",
        SecretSource::RandomBase64 {
            bytes: 32,
            prefix: "base64:",
        },
    );
    let (url, connection) = (env.get("DATABASE_URL"), env.get("DB_CONNECTION"));
    if connection == "pgsql" || url.starts_with("postgres") {
        project.wants(Backing::Postgres);
    } else if connection == "mysql" || connection == "mariadb" || url.starts_with("mysql") {
        project.wants(Backing::Mysql);
    } else if sqlite {
        project.mount("data", "/data");
        project.env("DB_DATABASE", "/data/database.sqlite");
        project.note("SQLite lives on the volume at /data: it is migrated when the app starts (AUTORUN_ENABLED).");
        project.env("AUTORUN_ENABLED", "true");
    }
    if env.0.to_lowercase().contains("=redis") {
        project.wants(Backing::Redis);
    }
    if requires("league/flysystem-aws-s3-v3").is_some() {
        project.wants(Backing::ObjectStorage);
        project.note(
            "Laravel names the bucket's secrets AWS_DEFAULT_REGION, AWS_BUCKET and AWS_ENDPOINT.",
        );
    }
    project.migrates("Laravel", "php /var/www/html/artisan migrate --force");
    if project
        .backing
        .iter()
        .all(|backing| matches!(backing, Backing::Redis | Backing::ObjectStorage))
    {
        project.release_command = None;
    }
    project.console_command = Some("php /var/www/html/artisan tinker".to_owned());
    project.check = Some(crate::project::Check {
        path: "/up".to_owned(),
        headers: Vec::new(),
    })
    .filter(|_| {
        tree.sources(".php")
            .iter()
            .any(|(path, _)| *path == "bootstrap/providers.php")
    });
    Some(project)
}

/// The settings of an environment, or of its example.
struct Settings<'a>(&'a str);

impl<'a> Settings<'a> {
    fn of(tree: &'a SourceTree) -> Self {
        let own = [".env", ".env.example"]
            .into_iter()
            .find(|file| tree.has(file));
        Self(tree.text(own.unwrap_or(".env")))
    }

    /// The value; empty where there is none.
    fn get(&self, name: &str) -> &'a str {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches(['"', '\''])
    }
}

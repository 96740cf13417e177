use super::python::{Image, Python};
use crate::project::{Backing, Project, SecretSource};
use crate::text::{mentions, quoted};
use crate::tree::SourceTree;

/// Where the parts of a Django project are.
struct Layout<'a> {
    /// The directory of `manage.py`, empty for the root.
    directory: &'a str,
    /// The packages with `wsgi.py` and `asgi.py`, as modules seen from there.
    wsgi: Option<String>,
    asgi: Option<String>,
}

impl<'a> Layout<'a> {
    fn of(tree: &'a SourceTree) -> Self {
        let manage = tree
            .paths()
            .filter(|path| path.rsplit('/').next() == Some("manage.py"))
            .min_by_key(|path| path.matches('/').count());
        let directory = manage
            .and_then(|path| path.rsplit_once('/'))
            .map_or("", |(directory, _)| directory);
        let module = |file: &str| {
            let inside = |path: &'a str| match directory {
                "" => Some(path),
                _ => path.strip_prefix(directory)?.strip_prefix('/'),
            };
            let path = tree
                .paths()
                .filter_map(inside)
                .find(|path| path.ends_with(file) && path.matches('/').count() <= 2)?;
            let package = path.trim_end_matches(file).trim_end_matches('/');
            Some(match package {
                "" => file.trim_end_matches(".py").to_owned(),
                _ => format!(
                    "{}.{}",
                    package.replace('/', "."),
                    file.trim_end_matches(".py")
                ),
            })
        };
        Self {
            directory,
            wsgi: module("wsgi.py"),
            asgi: module("asgi.py"),
        }
    }
}

/// What the settings say, in one file or in a package of several.
struct Settings<'a>(Vec<&'a str>);

impl<'a> Settings<'a> {
    fn of(tree: &'a SourceTree) -> Self {
        let is_settings = |path: &str| {
            path.ends_with("settings.py")
                || path.starts_with("settings/")
                || path.contains("/settings/")
        };
        let sources = tree.sources(".py").into_iter();
        Self(
            sources
                .filter(|(path, _)| is_settings(path))
                .map(|(_, text)| text)
                .collect(),
        )
    }

    fn mention(&self, word: &str) -> bool {
        self.0.iter().any(|text| text.contains(word))
    }

    /// The lines that assign to `name`, also those that do so under a condition.
    fn assigned(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.iter().flat_map(|text| text.lines());
        lines.filter_map(move |line| {
            let rest = line.trim_start().strip_prefix(name)?;
            let value = rest.trim_start().strip_prefix('=')?;
            (!value.starts_with('=')).then_some(value.trim())
        })
    }

    /// Where static files are collected: absolute, or below the directory of `manage.py`.
    fn static_root(&self) -> Option<String> {
        self.assigned("STATIC_ROOT").find_map(|value| {
            let parts = quoted(value);
            (!parts.is_empty()).then(|| parts.join("/").trim_end_matches('/').to_owned())
        })
    }

    /// The path the app gives its static files, if it is one of its own.
    fn static_path(&self) -> Option<String> {
        let value = self.assigned("STATIC_URL").next();
        let path = value.and_then(|value| quoted(value).first().copied());
        let path = path.unwrap_or("static/");
        let elsewhere = path.contains("://") || path.starts_with("//");
        (!elsewhere).then(|| format!("/{}/", path.trim_matches('/')))
    }

    /// The name under which the key is looked for.
    fn key(&self) -> &'static str {
        let value = self
            .assigned("SECRET_KEY")
            .find(|value| value.contains("DJANGO_SECRET_KEY"));
        value.map_or("SECRET_KEY", |_| "DJANGO_SECRET_KEY")
    }
}

/// The server the dependencies name, and its command.
fn server(python: &Python<'_>, layout: &Layout<'_>) -> Option<(&'static str, String)> {
    match (&layout.asgi, &layout.wsgi) {
        (Some(asgi), _) if python.needs("daphne") => Some((
            "daphne",
            format!("daphne -b 0.0.0.0 -p 8000 {asgi}:application"),
        )),
        (Some(asgi), _) if python.needs("uvicorn") && !python.needs("gunicorn") => Some((
            "uvicorn",
            format!("uvicorn {asgi}:application --host 0.0.0.0 --port 8000"),
        )),
        (Some(asgi), _) if python.needs("uvicorn") => Some((
            "gunicorn",
            format!(
                "gunicorn --bind :8000 --workers 2 -k uvicorn.workers.UvicornWorker {asgi}:application"
            ),
        )),
        (_, Some(wsgi)) => Some((
            "gunicorn",
            format!("gunicorn --bind :8000 --workers 2 {wsgi}"),
        )),
        _ => None,
    }
}

/// Django, with the server its dependencies name.
pub(super) fn django(tree: &SourceTree) -> Option<Project> {
    let named = ["requirements.txt", "Pipfile", "pyproject.toml"]
        .into_iter()
        .any(|file| mentions(tree.text(file), "django"));
    let python = Python::new(tree).filter(|_| named)?;
    let (layout, settings) = (Layout::of(tree), Settings::of(tree));
    let mut project = Project::new("Django", 8000);
    let (server, command) = match server(&python, &layout) {
        Some((server, command)) => (Some(server), command),
        None => {
            project.note("Neither wsgi.py nor asgi.py was found: the Dockerfile runs Django's development server.");
            (None, "python manage.py runserver 0.0.0.0:8000".to_owned())
        }
    };
    if let Some(server) = server.filter(|server| !python.needs(server)) {
        project.note(format!(
            "{server} is not among the dependencies: the Dockerfile installs it."
        ));
    }
    python.backing(&mut project);
    let database = project
        .backing
        .iter()
        .any(|backing| matches!(backing, Backing::Postgres | Backing::Mysql));
    let sqlite = !database && settings.mention("sqlite3");
    let command = if sqlite {
        // The file is this machine's own: a release command would migrate another.
        let command = format!("python manage.py migrate --noinput && exec {command}");
        vec!["sh".to_owned(), "-c".to_owned(), command]
    } else {
        command.split(' ').map(str::to_owned).collect()
    };
    let directory = match layout.directory {
        "" => "/code".to_owned(),
        below => format!("/code/{below}"),
    };
    let root = settings
        .static_root()
        .map(|root| match root.strip_prefix('/') {
            Some(_) => root,
            None => format!("{directory}/{root}"),
        });
    let mut image = Image {
        directory: "/code",
        below: layout.directory,
        server,
        port: 8000,
        command,
        ..Image::default()
    };
    if let Some(root) = root {
        let database = if settings.mention("DATABASE_URL") {
            " DATABASE_URL=sqlite://:memory:"
        } else {
            ""
        };
        image.steps = vec![format!(
            "{}=only-to-collect{database} python manage.py collectstatic --noinput",
            settings.key()
        )];
        if !root.starts_with("/code/") {
            image.owns = Some(root.clone());
        }
        if let Some(path) = settings.static_path() {
            project.statics.push((root, path));
        }
    } else {
        project.note("STATIC_ROOT is not set: static files are not collected into the image.");
    }
    project.file("Dockerfile", python.dockerfile(&image));
    project.file(".dockerignore", python.ignore());
    project.env("PORT", 8000);
    project.secret(settings.key(), SecretSource::Random(32));
    let has_migrations = tree.paths().any(|path| path.contains("/migrations/"));
    if !sqlite && (database || has_migrations) {
        project.migrates("Django", "python manage.py migrate --noinput");
    }
    if sqlite {
        project.note("The settings use SQLite: its file is made and migrated anew in every new machine. Use Postgres, or put it on a volume.");
    }
    if settings
        .assigned("ALLOWED_HOSTS")
        .any(|value| value == "[]")
    {
        project.note("ALLOWED_HOSTS is empty in the settings: Django answers 400 until the app's host name is in it.");
    }
    if python.needs("celery")
        && let Some(module) = layout.wsgi.or(layout.asgi)
    {
        let module = module
            .rsplit_once('.')
            .map_or(module.as_str(), |(package, _)| package);
        project.processes = vec![
            ("app".to_owned(), String::new()),
            (
                "celery".to_owned(),
                format!("celery -A {module} worker --loglevel info"),
            ),
        ];
    }
    project.console_command = Some(format!("python {directory}/manage.py shell"));
    Some(project)
}

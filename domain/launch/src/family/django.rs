use super::python::{Image, Python};
use crate::project::{Project, SecretSource};
use crate::text::quoted_after;
use crate::tree::SourceTree;

/// Django, with the server its dependencies name.
pub(super) fn django(tree: &SourceTree) -> Option<Project> {
    let named = ["requirements.txt", "Pipfile", "pyproject.toml"]
        .into_iter()
        .any(|file| crate::text::mentions(tree.text(file), "django"));
    let python = Python::new(tree).filter(|_| named)?;
    let module = |file: &str| {
        let path = tree
            .paths()
            .find(|path| path.ends_with(file) && path.matches('/').count() <= 2)?;
        Some(
            path.trim_end_matches(file)
                .trim_end_matches('/')
                .replace('/', "."),
        )
    };
    let (wsgi, asgi) = (module("wsgi.py"), module("asgi.py"));
    let mut project = Project::new("Django", 8000);
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (server, command) = match (&asgi, &wsgi) {
        (Some(asgi), _) if python.needs("daphne") => (
            Some("daphne"),
            format!("daphne -b 0.0.0.0 -p 8000 {asgi}.asgi:application"),
        ),
        (Some(asgi), _) if python.needs("uvicorn") && !python.needs("gunicorn") => (
            Some("uvicorn"),
            format!("uvicorn {asgi}.asgi:application --host 0.0.0.0 --port 8000"),
        ),
        (Some(asgi), _) if python.needs("uvicorn") => (
            Some("gunicorn"),
            format!(
                "gunicorn --bind :8000 --workers 2 -k uvicorn.workers.UvicornWorker {asgi}.asgi:application"
            ),
        ),
        (_, Some(wsgi)) => (
            Some("gunicorn"),
            format!("gunicorn --bind :8000 --workers 2 {wsgi}.wsgi"),
        ),
        _ => {
            project.note("Neither wsgi.py nor asgi.py was found: the Dockerfile runs Django's development server.");
            (None, "python manage.py runserver 0.0.0.0:8000".to_owned())
        }
    };
    if let Some(server) = server.filter(|server| !python.needs(server)) {
        project.note(format!(
            "{server} is not among the dependencies: the Dockerfile installs it."
        ));
    }
    let settings = tree.sources("settings.py");
    let root = settings.iter().find_map(|(_, text)| {
        let line = text.lines().find(|line| line.starts_with("STATIC_ROOT"))?;
        quoted_after(line, "=")
    });
    let mut steps = Vec::new();
    if let Some(root) = root {
        steps
            .push("SECRET_KEY=only-to-collect python manage.py collectstatic --noinput".to_owned());
        let directory = root
            .trim_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or("static");
        project
            .statics
            .push((format!("/code/{directory}"), "/static/".to_owned()));
    } else {
        project.note("STATIC_ROOT is not set: static files are not collected into the image.");
    }
    project.file(
        "Dockerfile",
        python.dockerfile(&Image {
            directory: "/code",
            server,
            steps,
            port: 8000,
            command: words(command),
        }),
    );
    project.file(".dockerignore", python.ignore());
    project.env("PORT", 8000);
    project.secret("SECRET_KEY", SecretSource::Random(32));
    python.backing(&mut project);
    if !project.backing.is_empty() || tree.paths().any(|path| path.contains("/migrations/")) {
        project.migrates("Django", "python manage.py migrate --noinput");
    }
    let sqlite = settings.iter().any(|(_, text)| text.contains("sqlite3"));
    if sqlite && project.backing.is_empty() {
        project.note(
            "The settings use SQLite: its file is gone with every new machine. Use Postgres, or put it on a volume and migrate when \
             the app starts.",
        );
    }
    if python.needs("celery")
        && let Some(module) = wsgi.or(asgi)
    {
        project.processes = vec![
            ("app".to_owned(), String::new()),
            (
                "celery".to_owned(),
                format!("celery -A {module} worker --loglevel info"),
            ),
        ];
    }
    project.console_command = Some("python /code/manage.py shell".to_owned());
    Some(project)
}

use crate::ignore::dockerignore;
use crate::project::{Backing, Project};
use crate::text::{cmd, mentions, version_in};
use crate::tree::SourceTree;

const MADE: [&str; 6] = [
    "**/__pycache__",
    "**/*.pyc",
    ".venv",
    "venv",
    ".pytest_cache",
    "*.sqlite3",
];

/// The Python of projects that ask for none.
const DEFAULT_VERSION: &str = "3.12";

/// The version a requirement is best met with: a lower bound alone is no wish, what is newer is meant as well.
fn wish(requirement: &str) -> Option<String> {
    let asked = version_in(requirement)?;
    let requirement = requirement.trim_matches([' ', '"', '\'']);
    let bound = requirement.starts_with(['>', '^']);
    let open = bound && (!requirement.contains('<') || requirement.contains("<4"));
    let minor = |version: &str| version.split('.').nth(1)?.parse::<u32>().ok();
    if open && minor(&asked) < minor(DEFAULT_VERSION) {
        return Some(DEFAULT_VERSION.to_owned());
    }
    Some(asked)
}

/// Whether a dependency is given by its place: `{ path = "../lib" }`.
fn has_path(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .any(|line| {
            line.split(['{', ',']).skip(1).any(|part| {
                part.trim_start()
                    .strip_prefix("path")
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            })
        })
}

/// How a Python project names what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installer {
    Uv,
    Poetry,
    Pipenv,
    Requirements,
    Project,
}

/// The Python side of a project.
pub(super) struct Python<'a> {
    tree: &'a SourceTree,
    installer: Installer,
    /// All the files that name dependencies, one after the other.
    needs: String,
}

impl<'a> Python<'a> {
    pub(super) fn new(tree: &'a SourceTree) -> Option<Self> {
        let pyproject = tree.text("pyproject.toml");
        let installer = if tree.has("uv.lock") {
            Installer::Uv
        } else if tree.has("poetry.lock") || pyproject.contains("[tool.poetry") {
            Installer::Poetry
        } else if tree.has("Pipfile") {
            Installer::Pipenv
        } else if tree.has_any(&["requirements.txt", "requirements.in"]) {
            Installer::Requirements
        } else if tree.has_any(&["pyproject.toml", "setup.py", "setup.cfg"]) {
            Installer::Project
        } else {
            return None;
        };
        let files = [
            "requirements.txt",
            "requirements.in",
            "Pipfile",
            "pyproject.toml",
            "setup.py",
            "setup.cfg",
        ];
        let needs = files.map(|file| tree.text(file)).join("\n");
        Some(Self {
            tree,
            installer,
            needs,
        })
    }

    pub(super) fn needs(&self, package: &str) -> bool {
        mentions(&self.needs, package)
    }

    fn version(&self) -> String {
        let asked = self
            .tree
            .text("pyproject.toml")
            .lines()
            .find(|line| line.starts_with("requires-python") || line.starts_with("python ="))
            .and_then(|line| wish(line.split_once('=')?.1));
        let pipfile = self.tree.text("Pipfile").lines();
        let mut pipfile = pipfile.filter(|line| line.starts_with("python_"));
        version_in(self.tree.text(".python-version"))
            .or_else(|| version_in(self.tree.text("runtime.txt")))
            .or_else(|| pipfile.find_map(version_in))
            .or(asked)
            .unwrap_or_else(|| DEFAULT_VERSION.to_owned())
    }

    /// Lines that install the dependencies into the environment in /venv.
    fn install(&self) -> String {
        let (tool, files, install) = match self.installer {
            Installer::Uv => (
                "uv",
                "pyproject.toml uv.lock",
                "UV_PROJECT_ENVIRONMENT=/venv uv sync --frozen --no-dev --no-install-project",
            ),
            Installer::Poetry if self.tree.has("poetry.lock") => (
                "poetry",
                "pyproject.toml poetry.lock",
                "poetry install --only main --no-root",
            ),
            Installer::Poetry => (
                "poetry",
                "pyproject.toml",
                "poetry install --only main --no-root",
            ),
            Installer::Pipenv if self.tree.has("Pipfile.lock") => (
                "pipenv",
                "Pipfile Pipfile.lock",
                "pipenv requirements > requirements.txt && pip install -r requirements.txt",
            ),
            Installer::Pipenv => (
                "pipenv",
                "Pipfile",
                "pipenv lock && pipenv requirements > requirements.txt && pip install -r requirements.txt",
            ),
            Installer::Requirements if self.tree.has("requirements.txt") => {
                ("", "requirements.txt", "pip install -r requirements.txt")
            }
            Installer::Requirements => ("", "requirements.in", "pip install -r requirements.in"),
            Installer::Project => ("", ".", "pip install ."),
        };
        let tool = match tool {
            "" => String::new(),
            tool => format!("RUN /usr/local/bin/pip install {tool}\n"),
        };
        let copy = match files {
            _ if self.has_local_parts() => "COPY . .".to_owned(),
            files => format!("COPY {files} ./"),
        };
        format!("{tool}{copy}\nRUN {install}")
    }

    /// Whether some of what is installed is part of the project: more lists, wheels, packages, members of a workspace.
    fn has_local_parts(&self) -> bool {
        match self.installer {
            Installer::Requirements => self.lists_local_parts(),
            Installer::Project => true,
            Installer::Pipenv => has_path(self.tree.text("Pipfile")),
            Installer::Uv | Installer::Poetry => {
                let pyproject = self.tree.text("pyproject.toml");
                has_path(pyproject)
                    || pyproject.contains("[tool.uv.workspace]")
                    || pyproject.contains("@ file:")
            }
        }
    }

    /// Whether `requirements.txt` refers to other files of the project.
    fn lists_local_parts(&self) -> bool {
        const MARKS: [&str; 8] = [
            "-r",
            "-c",
            "-e",
            "--requirement",
            "--constraint",
            "--editable",
            "--find-links",
            ".",
        ];
        let lines = self.tree.text("requirements.txt").lines().map(str::trim);
        lines.filter(|line| !line.contains("://")).any(|line| {
            MARKS.iter().any(|mark| line.starts_with(mark))
                || line.contains("@ file:")
                || line.contains(".whl")
        })
    }

    /// Debian packages to build with, and to run with.
    fn libraries(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let (mut build, mut run) = (Vec::new(), Vec::new());
        if self.needs("psycopg2")
            || (self.needs("psycopg") && !self.needs.contains("psycopg[binary"))
        {
            build.extend(["build-essential", "libpq-dev"]);
            run.push("libpq5");
        }
        if self.needs("mysqlclient") {
            build.extend([
                "build-essential",
                "default-libmysqlclient-dev",
                "pkg-config",
            ]);
            run.push("libmariadb3");
        }
        build.dedup();
        (build, run)
    }

    /// The image: dependencies in a stage of their own, the app as a user without rights.
    pub(super) fn dockerfile(&self, image: &Image<'_>) -> String {
        let (build, run) = self.libraries();
        let apt = |packages: &[&str]| match packages {
            [] => String::new(),
            _ => format!(
                "RUN apt-get update -qq && \\\n    apt-get install --no-install-recommends -y {} && \\\n    \
                 rm -rf /var/lib/apt/lists/*\n",
                packages.join(" ")
            ),
        };
        let server = match image.server {
            Some(package) if !self.needs(package) => format!("RUN pip install {package}\n"),
            _ => String::new(),
        };
        let steps: String = image
            .steps
            .iter()
            .map(|step| format!("RUN {step}\n"))
            .collect();
        format!(
            "ARG PYTHON_VERSION={version}\n\
             FROM python:${{PYTHON_VERSION}}-slim AS base\n\
             ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1\n\
             ENV VIRTUAL_ENV=/venv PATH=\"/venv/bin:$PATH\"\n\
             WORKDIR {dir}\n\n\
             FROM base AS build\n\
             ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1\n\
             {build}RUN python -m venv /venv\n\
             {install}\n{server}\n\
             FROM base\n\
             {run}RUN useradd --create-home --uid 1000 app && {owns}\n\
             COPY --from=build /venv /venv\n\
             COPY --chown=app:app . .\n\
             {below}USER app\n{steps}\
             EXPOSE {port}\n\
             CMD {cmd}\n",
            version = self.version(),
            dir = image.directory,
            build = apt(&build),
            install = self.install(),
            run = apt(&run),
            owns = match &image.owns {
                Some(other) => format!(
                    "mkdir -p {other} && chown app:app {dir} {other}",
                    dir = image.directory
                ),
                None => format!("chown app:app {}", image.directory),
            },
            below = match image.below {
                "" => String::new(),
                below => format!("WORKDIR {}/{below}\n", image.directory),
            },
            port = image.port,
            cmd = cmd(&image.command.iter().map(String::as_str).collect::<Vec<_>>()),
        )
    }

    /// Services its packages talk to.
    pub(super) fn backing(&self, project: &mut Project) {
        let any = |packages: &[&str]| packages.iter().any(|package| self.needs(package));
        if any(&[
            "psycopg",
            "psycopg2",
            "psycopg2-binary",
            "psycopg-binary",
            "asyncpg",
        ]) {
            project.wants(Backing::Postgres);
        }
        if any(&["mysqlclient", "pymysql", "aiomysql"]) {
            project.wants(Backing::Mysql);
        }
        if any(&["redis", "django-redis", "celery"]) {
            project.wants(Backing::Redis);
        }
        if any(&["boto3", "boto", "django-storages", "aioboto3"]) {
            project.wants(Backing::ObjectStorage);
        }
        if self.needs("alembic") && self.tree.has("alembic.ini") {
            project.migrates("Alembic", "alembic upgrade head");
        } else if any(&["flask-migrate"]) {
            project.migrates("Flask-Migrate", "flask db upgrade");
        }
        project.hungry_runtime = Some("Python");
    }

    pub(super) fn ignore(&self) -> String {
        dockerignore(self.tree, &MADE)
    }
}

/// What differs between the images of Python apps.
#[derive(Default)]
pub(super) struct Image<'a> {
    /// Where the sources are.
    pub(super) directory: &'a str,
    /// The directory below, in which commands run.
    pub(super) below: &'a str,
    /// A directory elsewhere the app writes to.
    pub(super) owns: Option<String>,
    /// The package of the server, installed if the project does not name it.
    pub(super) server: Option<&'a str>,
    /// Commands run over the complete sources, by the app's user.
    pub(super) steps: Vec<String>,
    pub(super) port: u16,
    pub(super) command: Vec<String>,
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// `module:name` of the object that `constructor` makes, `src.app:app` for example.
fn object(tree: &SourceTree, constructor: &str) -> Option<String> {
    tree.sources(".py").into_iter().find_map(|(path, text)| {
        if path.contains("test") {
            return None;
        }
        let line = text.lines().find(|line| line.contains(constructor))?;
        let module = path.trim_end_matches(".py").replace('/', ".");
        let module = module.trim_end_matches(".__init__");
        let name = line.split('=').next()?.split(':').next()?.trim();
        let is_name = !name.is_empty()
            && !line.starts_with([' ', '\t'])
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name {
            return Some(format!("{module}:{name}"));
        }
        text.contains("def create_app")
            .then(|| format!("{module}:create_app()"))
    })
}

fn finish(python: &Python<'_>, family: &'static str, image: &Image<'_>) -> Project {
    let mut project = Project::new(family, image.port);
    project.file("Dockerfile", python.dockerfile(image));
    project.file(".dockerignore", python.ignore());
    python.backing(&mut project);
    project
}

fn flask_project(python: &Python<'_>) -> Project {
    let app = object(python.tree, "Flask(").unwrap_or_else(|| {
        let module = python.tree.first(&["wsgi.py", "app.py", "main.py"]);
        format!("{}:app", module.unwrap_or("app.py").trim_end_matches(".py"))
    });
    let mut command = owned(&["gunicorn", "--bind", "0.0.0.0:8080"]);
    command.push(app);
    let image = Image {
        directory: "/app",
        server: Some("gunicorn"),
        port: 8080,
        command,
        ..Image::default()
    };
    finish(python, "Flask", &image)
}

/// Flask by `requirements.txt` and the usual file names.
pub(super) fn flask(tree: &SourceTree) -> Option<Project> {
    let named = tree.has("requirements.txt") && tree.has_any(&["app.py", "wsgi.py"]);
    let python = Python::new(tree).filter(|_| named)?;
    let others = python.needs("fastapi") || python.needs("streamlit");
    (python.needs("flask") && !others).then(|| flask_project(&python))
}

/// Any other Python project: by the one framework it names, else as a script.
pub(super) fn python(tree: &SourceTree) -> Option<Project> {
    let python = Python::new(tree);
    if python.is_none() && tree.has("environment.yml") {
        let mut project = Project::new("Python", 8080);
        project.env("PORT", 8080);
        project.note("environment.yml is for Conda: write a Dockerfile from continuumio/miniconda3 that installs it.");
        return Some(project);
    }
    let python = python?;
    let frameworks: Vec<&str> = ["fastapi", "flask", "streamlit"]
        .into_iter()
        .filter(|framework| python.needs(framework))
        .collect();
    Some(match frameworks[..] {
        ["fastapi"] => {
            let app = object(tree, "FastAPI(").unwrap_or_else(|| "main:app".to_owned());
            let factory = app.ends_with("()");
            let mut command = owned(&["uvicorn"]);
            command.push(app.trim_end_matches("()").to_owned());
            // Requests come by way of the edge: what it says about them, HTTPS above all, is so.
            command.extend(owned(&["--host", "0.0.0.0", "--port", "8000"]));
            command.push("--forwarded-allow-ips=*".to_owned());
            if factory {
                command.push("--factory".to_owned());
            }
            let image = Image {
                directory: "/app",
                server: Some("uvicorn"),
                port: 8000,
                command,
                ..Image::default()
            };
            finish(&python, "FastAPI", &image)
        }
        ["flask"] => flask_project(&python),
        ["streamlit"] => {
            let sources = tree.sources(".py");
            let entry = sources.iter().find(|(_, text)| mentions(text, "streamlit"));
            let entry = entry.map_or("app.py", |(path, _)| path).to_owned();
            let mut command = owned(&["streamlit", "run"]);
            command.push(entry);
            command.extend(owned(&[
                "--server.address=0.0.0.0",
                "--server.port=8501",
                "--server.headless=true",
            ]));
            let image = Image {
                directory: "/app",
                port: 8501,
                command,
                ..Image::default()
            };
            finish(&python, "Streamlit", &image)
        }
        _ => {
            let entry = tree.first(&["main.py", "app.py", "server.py", "run.py"]);
            let image = Image {
                directory: "/app",
                port: 8080,
                command: owned(&["python", entry.unwrap_or("main.py")]),
                ..Image::default()
            };
            let mut project = finish(&python, "Python", &image);
            project.env("PORT", 8080);
            project.note(format!(
                "No web framework was recognised: the Dockerfile runs {}; check its CMD, and that the app listens on $PORT.",
                entry.unwrap_or("main.py, which is not there")
            ));
            project
        }
    })
}

use std::collections::BTreeMap;

/// The files of a project: paths below its root with `/` between their parts, and the contents that matter.
#[derive(Clone, Debug, Default)]
pub struct SourceTree {
    files: BTreeMap<String, Option<String>>,
}

/// Directories nobody wrote by hand.
const SKIPPED: [&str; 16] = [
    ".git",
    "node_modules",
    "vendor",
    "target",
    "_build",
    "deps",
    ".venv",
    "venv",
    "__pycache__",
    ".next",
    ".nuxt",
    ".output",
    "dist",
    "bin/Debug",
    "obj",
    ".fly",
];

/// Files in skipped directories whose presence decides something.
pub const MARKS: [&str; 1] = ["vendor/modules.txt"];

/// Files whose content decides something.
const WANTED: [&str; 45] = [
    "package.json",
    "requirements.txt",
    "requirements.in",
    "Pipfile",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "environment.yml",
    "runtime.txt",
    ".python-version",
    "mix.exs",
    "Gemfile",
    "Gemfile.lock",
    "config.ru",
    ".ruby-version",
    "composer.json",
    ".env",
    ".env.example",
    "artisan",
    "redwood.toml",
    "Dockerfile",
    "Containerfile",
    "shard.yml",
    "go.mod",
    "deno.json",
    "deno.jsonc",
    "Cargo.toml",
    "Procfile",
    "app.json",
    ".dockerignore",
    ".gitignore",
    "next.config.js",
    "next.config.mjs",
    "next.config.ts",
    "svelte.config.js",
    "astro.config.mjs",
    "schema.prisma",
    "database.yml",
    "routes.rb",
    "storage.yml",
    "cable.yml",
    "production.rb",
    "settings.py",
    ".nvmrc",
    "pom.xml",
];

/// Endings of source files that may name a port or an entry point.
const WANTED_ENDINGS: [&str; 14] = [
    ".py", ".js", ".mjs", ".cjs", ".ts", ".go", ".csproj", ".rb", ".gradle", ".kts", ".toml",
    ".ex", ".rs", ".exs",
];

/// Whether a directory is not worth a look: what tools made, not people.
pub fn is_skipped(directory: &str) -> bool {
    let name = directory.rsplit('/').next().unwrap_or(directory);
    SKIPPED.contains(&name) || SKIPPED.contains(&directory)
}

/// Whether the content of a file may decide something.
pub fn is_wanted(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    WANTED.contains(&name) || WANTED_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

impl SourceTree {
    /// A tree of these paths; a content is `None` where it was not read.
    pub fn new(files: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        Self {
            files: files.into_iter().collect(),
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(crate) fn has_any(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.has(path))
    }

    pub(crate) fn has_dir(&self, directory: &str) -> bool {
        let prefix = format!("{directory}/");
        self.files
            .range(prefix.clone()..)
            .next()
            .is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    /// The content; empty for a file that is not there.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files
            .get(path)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Files of this ending with their contents, those near the root first.
    pub(crate) fn sources(&self, ending: &str) -> Vec<(&str, &str)> {
        let mut sources: Vec<(&str, &str)> = self
            .files
            .iter()
            .filter(|(path, _)| path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_deref().unwrap_or_default()))
            .collect();
        sources.sort_by_key(|(path, _)| path.matches('/').count());
        sources
    }

    /// The first of these files that is there.
    pub(crate) fn first(&self, paths: &[&'static str]) -> Option<&'static str> {
        paths.iter().find(|path| self.has(path)).copied()
    }
}

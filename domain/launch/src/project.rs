use serde::Serialize;

/// What a family found out: everything a `fly.toml` and an image need.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Project {
    /// As people call it: `Next.js`.
    pub family: &'static str,
    /// Port the app listens on in its machine.
    pub port: u16,
    /// Files to write where there are none: the Dockerfile first of all.
    pub files: Vec<GeneratedFile>,
    /// The Dockerfile that was there, by its name.
    pub dockerfile: Option<String>,
    pub env: Vec<(String, String)>,
    pub build_args: Vec<(String, String)>,
    pub secrets: Vec<WantedSecret>,
    /// Process groups with their commands.
    pub processes: Vec<(String, String)>,
    pub release_command: Option<String>,
    pub console_command: Option<String>,
    /// Directories of the image the edge serves, each with the paths it answers.
    pub statics: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub swap_mib: Option<u32>,
    pub kill_signal: Option<&'static str>,
    /// Requests a machine takes: soft limit, hard limit.
    pub concurrency: Option<(u32, u32)>,
    pub check: Option<Check>,
    /// What the app will want to talk to.
    pub backing: Vec<Backing>,
    /// A runtime that needs more memory than the smallest machine has.
    pub hungry_runtime: Option<&'static str>,
    /// The tool that changes the database's schema, and the command that does.
    pub migration: Option<(&'static str, String)>,
    /// What the user has to know or do; nothing that was left out is silent.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GeneratedFile {
    pub path: String,
    pub content: String,
    pub executable: bool,
}

/// A secret the app cannot start without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WantedSecret {
    pub name: &'static str,
    pub source: SecretSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SecretSource {
    /// That many random bytes, in hexadecimal.
    Random(usize),
    /// That many random bytes in base64, after a prefix.
    RandomBase64 { bytes: usize, prefix: &'static str },
    /// The content of a file of the project.
    File(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    pub source: String,
    pub destination: String,
    /// Grow by one GB at 80 % of use, up to 10 GB.
    pub grows: bool,
}

/// A path that says whether a machine can answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// A service beside the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    Postgres,
    Mysql,
    Redis,
    ObjectStorage,
}

impl Backing {
    pub const fn as_str(self) -> &'static str {
        match self {
            Backing::Postgres => "Postgres",
            Backing::Mysql => "MySQL",
            Backing::Redis => "Redis",
            Backing::ObjectStorage => "object storage",
        }
    }

    /// The secrets through which the app finds it.
    pub const fn secrets(self) -> &'static [&'static str] {
        match self {
            Backing::Postgres | Backing::Mysql => &["DATABASE_URL"],
            Backing::Redis => &["REDIS_URL"],
            Backing::ObjectStorage => &[
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_ENDPOINT_URL_S3",
                "AWS_REGION",
                "BUCKET_NAME",
            ],
        }
    }
}

impl Project {
    pub(crate) fn new(family: &'static str, port: u16) -> Self {
        Self {
            family,
            port,
            ..Self::default()
        }
    }

    pub(crate) fn file(&mut self, path: &str, content: impl Into<String>) {
        self.files.push(GeneratedFile {
            path: path.to_owned(),
            content: content.into(),
            executable: false,
        });
    }

    pub(crate) fn script(&mut self, path: &str, content: impl Into<String>) {
        self.files.push(GeneratedFile {
            path: path.to_owned(),
            content: content.into(),
            executable: true,
        });
    }

    pub(crate) fn env(&mut self, name: &str, value: impl ToString) {
        self.env.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn wants(&mut self, backing: Backing) {
        if !self.backing.contains(&backing) {
            self.backing.push(backing);
        }
    }

    pub(crate) fn secret(&mut self, name: &'static str, source: SecretSource) {
        self.secrets.push(WantedSecret { name, source });
    }

    pub(crate) fn mount(&mut self, source: &str, destination: &str) {
        self.mounts.push(Mount {
            source: source.to_owned(),
            destination: destination.to_owned(),
            grows: true,
        });
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Runs `command` with every release, unless the database is a file on a volume no release command sees.
    pub(crate) fn migrates(&mut self, tool: &'static str, command: &str) {
        self.migration = Some((tool, command.to_owned()));
        if self.mounts.is_empty() {
            self.release_command = Some(command.to_owned());
        }
    }
}

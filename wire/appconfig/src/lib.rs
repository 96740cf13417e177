//! `fly.toml`, also as JSON and YAML: what users write about their app, and what its machines become by it.
//!
//! [`read`] turns a file into an [`AppConfig`] in its normal form and a list of everything that is wrong with it, each
//! [`Problem`] with its line; forms of earlier times are rewritten on the way. [`AppConfig::machine_config`] says what a
//! machine of a process group is, [`AppConfig::from_machines`] goes the way back, [`edit`] changes a file and leaves its
//! comments alone. Which mistakes are looked for beyond broken rules is in [`lint`]. This crate reads no files and asks
//! nobody: contents of local files come through [`AppConfig::inline`].

mod compose;
mod concurrency;
mod config;
mod edit;
mod format;
mod from_machines;
mod group;
mod json_schema;
mod legacy;
mod lint;
mod machine;
mod node;
mod problem;
mod read;
mod schema;
mod size;
mod source;
mod validate;
mod write;

#[cfg(test)]
mod tests;

pub use config::{
    AppConfig, AutoStop, Build, Compose, Deploy, Experimental, File, HttpCheck, HttpService,
    MachineCheck, Metrics, Mount, Restart, Service, TcpCheck, TopLevelCheck, Vm,
};
pub use edit::edit;
pub use format::Format;
pub use from_machines::Sample;
pub use group::DEFAULT_GROUP;
pub use json_schema::json_schema;
pub use lint::{Facts, lint, rules};
pub use machine::{InlineError, MachineError};
pub use problem::{Problem, Severity};
pub use source::Source;

/// A file that was read: what it says as far as it could be understood, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Reading {
    pub config: AppConfig,
    /// In the order of the file.
    pub problems: Vec<Problem>,
    pub(crate) source: Source,
}

/// Reads a configuration. Nothing stops the reading: every mistake is a problem, and what it concerns is left out.
pub fn read(text: &str, format: Format) -> Reading {
    // Editors on some systems begin files with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut source = Source::new(text);
    let (mut root, mut problems) = format::parse(text, format, &source);
    let whole = problems.is_empty();
    if root.table().is_none() {
        problems.push(Problem::error(
            "",
            format!("must be a table of keys; got {}", root.shown()),
        ));
        root.value = node::Value::Table(Vec::new());
    }
    if let Some(app) = root.get("app") {
        source.note("app", &app.span);
    }
    for entry in root.table().unwrap_or_default() {
        source.note(&entry.key, &entry.key_span);
    }
    legacy::modernize(&mut root, &mut problems);
    let mut reader = read::Reader {
        source: &mut source,
        problems: &mut problems,
    };
    let value = reader.section(&root, &schema::ROOT, "").unwrap_or_default();
    let value = write::tidy(value);
    let config: AppConfig =
        serde_json::from_value(value).expect("the schema reads what the configuration holds");
    // A file that is broken as a whole would only seem to break rules between its keys.
    if whole {
        problems.append(&mut validate::problems(&config));
    }
    source.locate(&mut problems);
    Reading {
        config,
        problems,
        source,
    }
}

impl Reading {
    /// Whether the configuration can be used.
    pub fn is_valid(&self) -> bool {
        !self.problems.iter().any(Problem::is_error)
    }

    /// The same with unknown keys as errors.
    pub fn strict(mut self) -> Self {
        for problem in &mut self.problems {
            if problem.rule == Some(read::UNKNOWN) {
                problem.severity = Severity::Error;
            }
        }
        self
    }
}

impl AppConfig {
    /// Reads a configuration from its JSON, as a release keeps it.
    ///
    /// # Errors
    /// Every problem that keeps it from being used.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, Vec<Problem>> {
        let mut reading = read(&value.to_string(), Format::Json);
        reading.problems.retain(Problem::is_error);
        if reading.problems.is_empty() {
            Ok(reading.config)
        } else {
            Err(reading.problems)
        }
    }
}

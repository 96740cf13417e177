use std::fmt;

/// Whether a configuration with the problem can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something wrong with a configuration: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// Name of the rule, for those that can be ignored by a comment `# mayfly: allow <rule>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// `services[0].ports[1].handlers`; empty for the file as a whole.
    pub path: String,
    /// From 1; 0 when the place is not known.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    pub(crate) fn error(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            rule: None,
            path: path.into(),
            line: 0,
            column: 0,
            text: text.into(),
            remedy: None,
        }
    }

    pub(crate) fn warning(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(path, text)
        }
    }

    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    pub(crate) fn rule(self, rule: &'static str) -> Self {
        Self {
            rule: Some(rule),
            ..self
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The problem in one line, beginning with the file it is in: `fly.toml:3:1: error: …`.
    pub fn in_file(&self, file: &str) -> String {
        match self.line {
            0 => format!("{file}: {self}"),
            line => format!("{file}:{line}:{}: {self}", self.column),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity.as_str())?;
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Problem {}

/// Words for an error that lists what is allowed.
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}

/// ` (did you mean "x"?)` when a known word is near.
pub(crate) fn perhaps<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    mayfly_wire::closest(word, known)
        .map_or_else(String::new, |meant| format!(" (did you mean \"{meant}\"?)"))
}

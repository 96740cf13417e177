use std::fmt;

/// Why a machine could not run, as a sentence for people: "exec /app/server: No such file or directory".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was attempted when an error came.
pub(crate) trait While<T> {
    fn when(self, attempt: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Reason> While<T> for Result<T, E> {
    fn when(self, attempt: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{attempt}: {}", error.reason())))
    }
}

/// The words of an error, without the number std adds to those of the kernel.
pub(crate) trait Reason {
    fn reason(&self) -> String;
}

impl Reason for std::io::Error {
    fn reason(&self) -> String {
        let text = self.to_string();
        match (self.raw_os_error(), text.rfind(" (os error ")) {
            (Some(_), Some(end)) => text[..end].to_lowercase(),
            _ => text,
        }
    }
}

impl Reason for rustix::io::Errno {
    fn reason(&self) -> String {
        std::io::Error::from(*self).reason()
    }
}

impl Reason for serde_json::Error {
    fn reason(&self) -> String {
        self.to_string()
    }
}

impl Reason for mayfly_logs::LogError {
    fn reason(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

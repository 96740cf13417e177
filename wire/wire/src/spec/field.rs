use std::fmt;

/// A value of the right type that breaks a rule: the field by its path and what it allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidConfig {
    /// `config.services[0].internal_port`.
    pub field: String,
    /// A sentence that goes on from the field's name: "must be one of …".
    pub rule: String,
}

/// Where in the configuration a rule is being held.
#[derive(Clone, Debug)]
pub(super) struct At(String);

impl At {
    pub(super) fn root(name: &str) -> Self {
        At(name.to_owned())
    }

    pub(super) fn field(&self, name: &str) -> At {
        let name: String = name.chars().take(80).collect();
        At(format!("{}.{name}", self.0))
    }

    pub(super) fn index(&self, index: usize) -> At {
        At(format!("{}[{index}]", self.0))
    }

    pub(super) fn refuse<T>(&self, rule: impl fmt::Display) -> Result<T, InvalidConfig> {
        Err(InvalidConfig {
            field: self.0.clone(),
            rule: rule.to_string(),
        })
    }

    pub(super) fn one_of<T>(&self, allowed: &[&str]) -> Result<T, InvalidConfig> {
        let allowed: Vec<String> = allowed.iter().map(|word| format!("\"{word}\"")).collect();
        self.refuse(format!("must be one of {}", allowed.join(", ")))
    }

    pub(super) fn word(
        &self,
        word: Option<&String>,
        allowed: &[&str],
    ) -> Result<(), InvalidConfig> {
        match absent_if_empty(word) {
            Some(word) if !allowed.contains(&word.as_str()) => self.one_of(allowed),
            _ => Ok(()),
        }
    }

    /// `value` as a number from `least` to `most`.
    pub(super) fn within<T: TryFrom<i64>>(
        &self,
        value: i64,
        least: i64,
        most: i64,
    ) -> Result<T, InvalidConfig> {
        if !(least..=most).contains(&value) {
            return self.refuse(format!("must be from {least} to {most}, got {value}"));
        }
        T::try_from(value).or_else(|_| self.refuse(format!("must be from {least} to {most}")))
    }

    pub(super) fn port(&self, port: Option<i64>) -> Result<u16, InvalidConfig> {
        match port {
            Some(port) => self.within(port, 1, 65535),
            None => self.refuse("is required: a port from 1 to 65535"),
        }
    }

    /// Holds that `path` is absolute and stays where it says.
    pub(super) fn absolute_path(&self, path: Option<&String>) -> Result<String, InvalidConfig> {
        let Some(path) = absent_if_empty(path) else {
            return self.refuse("is required: an absolute path");
        };
        let holds = path.starts_with('/')
            && !path.contains('\0')
            && path.len() <= 4096
            && path.split('/').all(|part| part != "..")
            && path.split('/').any(|part| !matches!(part, "" | "."));
        if !holds {
            return self.refuse("must be an absolute path below /, without \"..\"");
        }
        Ok(path.clone())
    }

    /// Holds that words can be arguments of a program.
    pub(super) fn arguments(
        &self,
        words: Option<&Vec<String>>,
    ) -> Result<Option<Vec<String>>, InvalidConfig> {
        let Some(words) = words.filter(|words| !words.is_empty()) else {
            return Ok(None);
        };
        match words.iter().position(|word| word.contains('\0')) {
            Some(index) => self.index(index).refuse("must not contain a NUL character"),
            None => Ok(Some(words.clone())),
        }
    }
}

/// Go clients leave empty texts out; an empty text therefore means none.
pub(super) fn absent_if_empty(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

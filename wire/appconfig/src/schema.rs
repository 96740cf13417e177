//! What a configuration may hold: one table that reading, the editors' JSON schema and the documentation share.

mod sections;

pub(crate) use sections::ROOT;

/// A table of the configuration.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) keys: &'static [Key],
    /// Keys that a table of this kind must have.
    pub(crate) required: &'static [&'static str],
    /// Keys of earlier times that mean nothing any more, each with what is said about it.
    pub(crate) retired: &'static [(&'static str, &'static str)],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Other spellings that mean the same.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) kind: Kind,
    /// One sentence for editors.
    pub(crate) meaning: &'static str,
}

/// What a key's value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// The name of an app.
    AppName,
    /// A size of machines by name.
    Preset,
    Choice(&'static [&'static str]),
    Bool,
    /// Also as a text of digits.
    Integer(i64, i64),
    Number(f64, f64),
    /// `"15s"`, or a bare number of this unit.
    Duration(Bare),
    /// `"1gb"`, or a bare number of this unit.
    Size(Unit),
    /// A list of texts; a single text is a list of one.
    Words,
    Choices(&'static [&'static str]),
    /// A command as a list of words, or as one text that is split as a shell does.
    Command,
    /// Free names with values of one kind.
    Map(&'static Kind),
    Table(&'static Section),
    /// A list of tables; a single table is a list of one.
    List(&'static Section),
    /// Free names with a table each.
    Named(&'static Section),
    /// Header names with texts, or a list of `{name, value}`.
    Headers,
    /// `"off"`, `"stop"`, `"suspend"`, or a boolean.
    AutoStop,
    /// A table of limits, or the old text `"soft,hard"`.
    Concurrency(&'static Section),
    /// Anything: passed on as it is.
    Any,
}

/// What a number without a unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    Seconds,
    Milliseconds,
}

/// What a size without a unit counts; gigabytes come in whole numbers within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Megabytes,
    Gigabytes { least: i64, most: i64 },
}

impl Section {
    /// The key by any of its spellings.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys
            .iter()
            .find(|key| key.name == name || key.aliases.contains(&name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

//! Changing a fly.toml so that comments, order and spelling of what stays are kept.

use serde_json::{Map, Value as Json};
use toml_edit::{DocumentMut, Item, TableLike};

use crate::config::AppConfig;
use crate::schema::{ROOT, Section};
use crate::{Format, write};

/// `text` with the least changes that make it mean `config`.
///
/// Sections that mean the same in both are not touched. A text that is no TOML is replaced as a whole.
pub fn edit(text: &str, config: &AppConfig) -> String {
    let before = crate::read(text, Format::Toml).config.to_value();
    let after = config.to_value();
    let (Ok(mut document), Json::Object(before), Json::Object(after)) =
        (text.parse::<DocumentMut>(), before, after)
    else {
        return config.to_text(Format::Toml);
    };
    change(document.as_table_mut(), &before, &after, Some(&ROOT));
    let edited = document.to_string();
    // A form of earlier times may stand in the way of a small change.
    if crate::read(&edited, Format::Toml).config == *config {
        edited
    } else {
        config.to_text(Format::Toml)
    }
}

fn change(
    table: &mut dyn TableLike,
    before: &Map<String, Json>,
    after: &Map<String, Json>,
    section: Option<&Section>,
) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        table.remove(&spelled(table, key, section));
    }
    for (key, value) in after {
        if before.get(key) == Some(value) {
            continue;
        }
        let name = spelled(table, key, section);
        let both = (before.get(key), value);
        let inner = table.get_mut(&name).and_then(Item::as_table_like_mut);
        match (both, inner) {
            ((Some(Json::Object(before)), Json::Object(after)), Some(inner)) => {
                change(inner, before, after, None);
            }
            _ => replace(table, &name, value),
        }
    }
}

/// Puts a new value where the old one stood, with its comment at the end of the line.
fn replace(table: &mut dyn TableLike, name: &str, value: &Json) {
    let mut item = write::item(value);
    if let (Some(new), Some(old)) = (
        item.as_value_mut(),
        table.get(name).and_then(Item::as_value),
    ) {
        *new.decor_mut() = old.decor().clone();
        if let Some(old) = table.get_mut(name) {
            *old = item;
        }
        return;
    }
    table.insert(name, item);
}

/// The spelling of a key in this table.
fn spelled(table: &dyn TableLike, key: &str, section: Option<&Section>) -> String {
    let aliases = section
        .and_then(|section| section.key(key))
        .map_or(&[][..], |key| key.aliases);
    let spellings = std::iter::once(key).chain(aliases.iter().copied());
    let mut present = spellings.filter(|name| table.contains_key(name));
    present.next().unwrap_or(key).to_owned()
}

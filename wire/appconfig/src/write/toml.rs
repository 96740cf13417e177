use serde_json::{Map, Value as Json};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

pub(super) fn write(value: &Json) -> String {
    let mut document = DocumentMut::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        document.insert(key, item(value));
    }
    document.to_string()
}

/// A key's value as it stands in a new document.
pub(crate) fn item(value: &Json) -> Item {
    match value {
        Json::Object(fields) => Item::Table(table(fields)),
        Json::Array(items) if !items.is_empty() && items.iter().all(Json::is_object) => {
            let tables = items.iter().filter_map(Json::as_object).map(table);
            Item::ArrayOfTables(tables.collect::<ArrayOfTables>())
        }
        other => Item::Value(inline(other)),
    }
}

fn table(fields: &Map<String, Json>) -> Table {
    let mut table = Table::new();
    for (key, value) in fields {
        table.insert(key, item(value));
    }
    // A table of tables only needs no line of its own.
    table.set_implicit(!table.is_empty() && table.iter().all(|(_, item)| !item.is_value()));
    table
}

fn inline(value: &Json) -> Value {
    match value {
        // TOML has no null; the normal form has none either.
        Json::Null => Value::from(""),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().map(inline).collect::<Array>()),
        Json::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.as_str(), inline(value)));
            Value::InlineTable(fields.collect())
        }
    }
}

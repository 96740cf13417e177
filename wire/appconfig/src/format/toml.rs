use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::node::{Entry, Node, Value};
use crate::problem::Problem;
use crate::source::Source;

pub(super) fn parse(text: &str, source: &Source) -> (Node, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| {
            let mut problem =
                Problem::error("", format!("is not TOML: {}", error.message().trim()));
            if let Some(span) = error.span() {
                (problem.line, problem.column) = source.position(span.start);
            }
            problem
        })
        .collect();
    let mut node = Node {
        span: table.span(),
        value: Value::Null,
    };
    node.value = self::table(table.get_ref(), "", &mut problems);
    (node, problems)
}

fn table(table: &DeTable<'_>, path: &str, problems: &mut Vec<Problem>) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let path = format!("{path}{}", key.get_ref());
        Entry {
            key: key.get_ref().to_string(),
            key_span: key.span(),
            node: node(value, &path, problems),
        }
    });
    Value::Table(entries.collect())
}

fn node(value: &Spanned<DeValue<'_>>, path: &str, problems: &mut Vec<Problem>) -> Node {
    let mut unreadable = |what: &str| {
        problems.push(Problem::error(path, format!("is {what}")));
        Value::Null
    };
    let read = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => unreadable("a number too large for 64 bits"),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => unreadable("no finite number"),
        },
        // Dates are nothing here; as text they can be values of variables.
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| node(item, &format!("{path}[{index}]"), problems))
                .collect(),
        ),
        DeValue::Table(inner) => table(inner, &format!("{path}."), problems),
    };
    Node {
        span: value.span(),
        value: read,
    }
}

//! Configurations by chance, made from the schema itself.

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value as Json, json};

use crate::schema::{Kind, ROOT, Section, Unit};
use crate::{AppConfig, Format, edit, read};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[a-zA-Z0-9_.-]{1,12}",
        "[ -~]{1,10}",
        "(true|no|1e3|null|~|0x1)"
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,20}", "\\PC{0,12}", "[a-z\n\t#:\"']{1,12}"]
}

fn words(of: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    prop::collection::vec(of, 1..4).prop_map(Json::from).boxed()
}

fn table(section: &'static Section) -> BoxedStrategy<Json> {
    let keys: Vec<BoxedStrategy<(String, Json)>> = section
        .keys
        .iter()
        .map(|key| {
            value(key.kind)
                .prop_map(|value| (key.name.to_owned(), value))
                .boxed()
        })
        .collect();
    let count = keys.len();
    prop::collection::vec(Union::new(keys), 0..count.min(6))
        .prop_map(|fields| Json::Object(fields.into_iter().collect()))
        .boxed()
}

/// Any value of the normal form.
fn value(kind: Kind) -> BoxedStrategy<Json> {
    let choice =
        |words: &'static [&'static str]| prop::sample::select(words).prop_map(Json::from).boxed();
    match kind {
        Kind::Text => text().prop_map(Json::from).boxed(),
        Kind::AppName => "[a-z][a-z0-9]{0,9}".prop_map(Json::from).boxed(),
        Kind::Preset => choice(&["shared-cpu-1x", "performance-2x"]),
        Kind::Choice(words) => choice(words),
        Kind::Bool => any::<bool>().prop_map(Json::from).boxed(),
        Kind::Integer(least, most) => (least..=most).prop_map(Json::from).boxed(),
        Kind::Number(..) => {
            prop_oneof![Just(json!(0.33)), Just(json!(2)), Just(json!(0.5))].boxed()
        }
        Kind::Duration(_) => (1_u64..100_000)
            .prop_map(|millis| {
                let span = mayfly_wire::GoDuration(std::time::Duration::from_millis(millis));
                Json::from(span.to_string())
            })
            .boxed(),
        Kind::Size(Unit::Megabytes) => (1_i64..9000)
            .prop_map(|mib| Json::from(crate::size::shown(mib)))
            .boxed(),
        Kind::Size(Unit::Gigabytes { least, most }) => (least..=most)
            .prop_map(|gb| Json::from(format!("{gb}gb")))
            .boxed(),
        Kind::Words | Kind::Command => words(text().prop_map(Json::from).boxed()),
        Kind::Choices(all) => words(choice(all)),
        Kind::Map(inner) => named(value(*inner)),
        Kind::Named(section) => named(table(section)),
        Kind::Headers => named(text().prop_map(Json::from).boxed()),
        Kind::Table(section) | Kind::Concurrency(section) => table(section),
        Kind::List(section) => prop::collection::vec(table(section), 1..3)
            .prop_map(Json::from)
            .boxed(),
        Kind::AutoStop => choice(&["off", "stop", "suspend"]),
        Kind::Any => prop_oneof![
            text().prop_map(|text| json!({ "any": text })),
            Just(json!({ "a": [1, { "b": true }] })),
        ]
        .boxed(),
    }
}

fn named(of: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    prop::collection::btree_map(name(), of, 0..3)
        .prop_map(|fields| Json::Object(fields.into_iter().collect()))
        .boxed()
}

fn config() -> impl Strategy<Value = AppConfig> {
    table(&ROOT).prop_map(|value| {
        serde_json::from_value(value)
            .unwrap_or_else(|error| panic!("schema and types differ: {error}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Writing and reading is the identity, in every format, and never an error of form.
    #[test]
    fn every_configuration_survives_every_format(config in config()) {
        // Empty tables are not written; what is left has one normal form.
        let normal = read(&config.to_text(Format::Json), Format::Json).config;
        for format in [Format::Toml, Format::Json, Format::Yaml] {
            let text = config.to_text(format);
            prop_assert_eq!(&read(&text, format).config, &normal, "{:?}:\n{}", format, text);
        }
    }

    /// Whatever a file holds, an edit makes it mean what was asked.
    #[test]
    fn edits_reach_their_goal(from in config(), to in config()) {
        let to = read(&to.to_text(Format::Json), Format::Json).config;
        let edited = edit(&from.to_text(Format::Toml), &to);
        prop_assert_eq!(&read(&edited, Format::Toml).config, &to, "{}", edited);
    }

    /// Nothing that can be typed makes the reader fail.
    #[test]
    fn any_text_is_read(text in "\\PC{0,60}|([a-z_]{1,9} ?[=:\\[\\]{}\"]{1,3} ?[a-z0-9]{0,5}\n){0,6}") {
        for format in [Format::Toml, Format::Json, Format::Yaml] {
            let _ = read(&text, format);
        }
    }
}

/// The schema knows every key of the types and the other way round.
#[test]
fn every_key_is_read_into_its_field() {
    fn full(section: &Section) -> Json {
        let fields = section
            .keys
            .iter()
            .map(|key| (key.name.to_owned(), one(key.kind)));
        Json::Object(fields.collect::<Map<_, _>>())
    }
    fn one(kind: Kind) -> Json {
        match kind {
            Kind::Text | Kind::AppName => json!("a"),
            Kind::Preset => json!("shared-cpu-1x"),
            Kind::Choice(words) => json!(words[0]),
            Kind::Bool => json!(true),
            Kind::Integer(least, _) => json!(least),
            Kind::Number(..) => json!(0.5),
            Kind::Duration(_) => json!("2s"),
            Kind::Size(_) => json!("1gb"),
            Kind::Words | Kind::Command => json!(["a"]),
            Kind::Choices(words) => json!([words[0]]),
            Kind::Map(inner) => json!({ "a": one(*inner) }),
            Kind::Named(section) => json!({ "a": full(section) }),
            Kind::Headers => json!({ "a": "b" }),
            Kind::Table(section) | Kind::Concurrency(section) => full(section),
            Kind::List(section) => json!([full(section)]),
            Kind::AutoStop => json!("off"),
            Kind::Any => json!({ "a": 1 }),
        }
    }
    let whole = full(&ROOT);
    let config = read(&whole.to_string(), Format::Json).config;
    assert_eq!(config.to_value(), whole);
}

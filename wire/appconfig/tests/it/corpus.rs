//! Every key and every form: what a file means for its machines, and what is said about it.

use std::fmt::Write as _;

use mayfly_appconfig::{AppConfig, Format, Sample, read};
use serde_json::{Value, json};

use crate::{assert_golden, corpus};

const FILES: [&str; 8] = [
    "web.toml",
    "everything.toml",
    "legacy.toml",
    "tables.toml",
    "groups.toml",
    "mistakes.toml",
    "every.json",
    "every.yaml",
];

fn machines(config: &AppConfig) -> Value {
    let mut machines = json!({});
    for group in config.groups() {
        let machine = config.machine_config(group, None).unwrap();
        machines[group] = serde_json::to_value(machine).unwrap();
    }
    if let Some(release) = config.release_machine_config().unwrap() {
        machines["(release command)"] = serde_json::to_value(release).unwrap();
    }
    machines
}

#[test]
fn files_mean_what_was_promised() {
    for name in FILES {
        let reading = read(&corpus(name), Format::of(name));
        let mut text = String::new();
        for problem in &reading.problems {
            writeln!(text, "{}", problem.in_file(name)).unwrap();
            if let Some(remedy) = &problem.remedy {
                writeln!(text, "    {remedy}").unwrap();
            }
        }
        if reading.is_valid() {
            let meaning = json!({
                "config": reading.config.to_value(),
                "machines": machines(&reading.config),
            });
            text.push_str(&serde_json::to_string_pretty(&meaning).unwrap());
            text.push('\n');
        }
        assert_golden(&format!("tests/golden/{name}.txt"), &text);
    }
}

#[test]
fn every_format_keeps_the_meaning() {
    for name in FILES {
        let config = read(&corpus(name), Format::of(name)).config;
        for format in [Format::Toml, Format::Json, Format::Yaml] {
            let text = config.to_text(format);
            let again = read(&text, format);
            assert_eq!(again.config, config, "{name} as {format:?}:\n{text}");
        }
        assert_eq!(
            AppConfig::from_value(&config.to_value()).ok(),
            read(&corpus(name), Format::of(name))
                .is_valid()
                .then_some(config),
        );
    }
}

/// Machines → configuration → machines changes nothing.
#[test]
fn machines_lead_back_to_their_configuration() {
    for name in [
        "web.toml",
        "everything.toml",
        "legacy.toml",
        "tables.toml",
        "groups.toml",
        "every.json",
    ] {
        let config = read(&corpus(name), Format::of(name)).config;
        let samples: Vec<Sample> = config
            .groups()
            .into_iter()
            .map(|group| Sample {
                region: "iad".to_owned(),
                config: config.machine_config(group, None).unwrap(),
            })
            .collect();
        let back = AppConfig::from_machines("app", &samples);
        let text = back.to_text(Format::Toml);
        let reading = read(&text, Format::Toml);
        assert!(reading.is_valid(), "{name}: {:?}\n{text}", reading.problems);
        for (group, sample) in config.groups().iter().zip(&samples) {
            let again = reading.config.machine_config(group, None).unwrap();
            let mut before = sample.config.clone();
            before
                .env
                .get_or_insert_default()
                .entry("PRIMARY_REGION".to_owned())
                .or_insert_with(|| "iad".to_owned());
            if let Some(guest) = &mut before.guest {
                // The key stands at the top or under [[vm]]; from machines it is the latter.
                guest.host_dedication_id = again.guest.as_ref().unwrap().host_dedication_id.clone();
            }
            // Order between ports' services is the file's; compare what they say.
            assert_eq!(again, before, "{name}, group {group}\n{text}");
        }
    }
}

#[test]
fn short_and_long_form_are_one() {
    let short = read(
        "[http_service]\ninternal_port = 80\nforce_https = true\n[[http_service.checks]]\npath = '/up'",
        Format::Toml,
    );
    let long = read(
        "[[services]]\ninternal_port = 80\nprotocol = 'tcp'\n[[services.ports]]\nport = 80\nhandlers = ['http']\n\
         force_https = true\n[[services.ports]]\nport = 443\nhandlers = ['http', 'tls']\n[[services.http_checks]]\n\
         path = '/up'",
        Format::Toml,
    );
    assert_eq!(
        short.config.machine_config("app", None).unwrap(),
        long.config.machine_config("app", None).unwrap()
    );
}

#[test]
fn a_broken_file_still_names_its_app() {
    let reading = read("app = 'web'\n[env\nA = 1\nB = ", Format::Toml);
    assert_eq!(reading.config.app.as_deref(), Some("web"));
    assert!(!reading.is_valid());
    // Every mistake of the text, not only the first.
    assert!(reading.problems.len() > 1, "{:?}", reading.problems);
    for (text, format, place) in [
        (
            "{\n  \"app\": \"web\",\n  \"env\": {\n}",
            Format::Json,
            (4, 1),
        ),
        ("app: web\nenv:\n  A: [1\n", Format::Yaml, (4, 1)),
        ("- a\n- b\n", Format::Yaml, (0, 0)),
    ] {
        let problem = &read(text, format).problems[0];
        assert!(problem.is_error());
        if place.0 > 0 {
            assert_eq!((problem.line, problem.column), place, "{problem}");
        }
    }
    // An alias that stands for a million values is refused, not written out.
    let mut bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for (one, other) in ["ab", "bc", "cd", "de", "ef", "fg", "gh"].map(|pair| pair.split_at(1)) {
        writeln!(
            bomb,
            "{other}: &{other} [{}]",
            vec![format!("*{one}"); 10].join(",")
        )
        .unwrap();
    }
    assert!(
        read(&bomb, Format::Yaml).problems[0]
            .text
            .contains("aliases")
    );
}

use serde_json::json;

use super::*;
use crate::{CreateMachine, MachineConfig, SignalMachine, StopMachine};

fn refusal(value: &Value) -> String {
    read_value::<MachineConfig>(value)
        .unwrap_err()
        .inside("config")
        .to_string()
}

#[test]
fn unknown_fields_are_named_with_what_was_meant() {
    for (config, text) in [
        (
            json!({"guest": {"cpu_kinds": "shared"}}),
            "unknown field \"config.guest.cpu_kinds\"; did you mean \"cpu_kind\"?",
        ),
        (
            json!({"services": [{}, {"ports": [{"handler": []}]}]}),
            "unknown field \"config.services[1].ports[0].handler\"; did you mean \"handlers\"?",
        ),
        (
            json!({"checks": {"web": {"typ": "tcp"}}}),
            "unknown field \"config.checks.web.typ\"; did you mean \"type\"?",
        ),
    ] {
        assert_eq!(refusal(&config), text);
    }
    let far = refusal(&json!({"rootfs": {"banana": 1}}));
    assert_eq!(
        far,
        "unknown field \"config.rootfs.banana\"; known there: persist, size_gb"
    );
}

#[test]
fn wrong_types_are_named_with_what_was_wanted() {
    for (config, text) in [
        (
            json!({"guest": {"cpus": "2"}}),
            "field \"config.guest.cpus\" must be an integer, got the string \"2\"",
        ),
        (
            json!({"env": {"A": 1}}),
            "field \"config.env.A\" must be a string, got the integer 1",
        ),
        (
            json!({"services": {}}),
            "field \"config.services\" must be an array, got an object",
        ),
        (
            json!({"guest": []}),
            "field \"config.guest\" must be an object, got an array",
        ),
        (
            json!({"services": [{"autostop": "maybe"}]}),
            "field \"config.services[0].autostop\" must be a boolean or one of \"off\", \"stop\", \"suspend\", got the string \"maybe\"",
        ),
        (
            json!({"stop_config": {"timeout": true}}),
            "field \"config.stop_config.timeout\" must be a duration, such as \"15s\", or a number of nanoseconds, got the boolean true",
        ),
        (
            json!({"auto_destroy": 1}),
            "field \"config.auto_destroy\" must be a boolean, got the integer 1",
        ),
    ] {
        assert_eq!(refusal(&config), text);
    }
    let body = read::<CreateMachine>(b"[1]").unwrap_err().to_string();
    assert_eq!(body, "the body must be an object, got an array");
    let body = read::<CreateMachine>(b"{oops").unwrap_err().to_string();
    assert!(body.starts_with("the body is not JSON: "), "{body}");
}

#[test]
fn null_and_an_empty_body_mean_nothing_was_said() {
    let stop: StopMachine = read(b"").unwrap();
    assert_eq!(stop, StopMachine::default());
    let stop: StopMachine = read(br#"{"signal": null, "timeout": null}"#).unwrap();
    assert_eq!(stop, StopMachine::default());
    let create: CreateMachine = read(br#"{"config": {"a": null}}"#).unwrap();
    assert_eq!(create.config, Some(json!({"a": null})));
}

#[test]
fn signals_are_names_or_numbers() {
    for (body, number) in [(r#"{"signal": 9}"#, 9), (r#"{"signal": "SIGTERM"}"#, 15)] {
        let signal: SignalMachine = read(body.as_bytes()).unwrap();
        assert_eq!(signal.signal.unwrap().signal().unwrap().number(), number);
    }
    let signal: SignalMachine = read(br#"{"signal": -3}"#).unwrap();
    assert!(signal.signal.unwrap().signal().is_err());
}

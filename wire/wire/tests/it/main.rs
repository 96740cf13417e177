//! The API's JSON, kept as it was promised.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;

use mayfly_types::Timestamp;
use mayfly_wire::{
    ExitEvent, Machine, MachineConfig, MachineEvent, MachineImage, MachineLease, MachineRequest,
    read_value,
};
use serde_json::Value;
use serde_json::value::RawValue;

/// Every documented field is known, passes its rules, and is written as it was read.
#[test]
fn every_field_of_a_configuration_is_known() {
    for text in [
        include_str!("../../golden/config-everything.json"),
        include_str!("../../golden/config-containers.json"),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        let config: MachineConfig = read_value(&value).unwrap();
        config.check().unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), value);
    }
}

#[test]
fn a_machine_looks_as_promised() {
    let at = |millis: i64| Timestamp::from_millis(1_700_000_000_000 + millis);
    let image = format!("nginx:1.27@sha256:{}", "5a".repeat(32));
    let labels = BTreeMap::from([("maintainer".to_owned(), "x".to_owned())]);
    let config = r#"{"image":"nginx:1.27","spot":{"max_price_fraction":0.50}}"#;
    let machine = Machine {
        id: "e784079f004d86".to_owned(),
        name: "quiet-river-4711".to_owned(),
        state: "stopped".to_owned(),
        region: "iad".to_owned(),
        image_ref: MachineImage::new(&image.parse().unwrap(), labels),
        instance_id: "01ARYZ6S410000000000000000".to_owned(),
        version: "01ARYZ6S410000000000000000".to_owned(),
        private_ip: "fdaa:0:1:a0b:c0d:0:1:2".to_owned(),
        created_at: Some(at(0)),
        updated_at: Some(at(1500)),
        config: Some(RawValue::from_string(config.to_owned()).unwrap()),
        events: vec![MachineEvent {
            id: "01ARYZ6S420000000000000000".to_owned(),
            event_type: "exit".to_owned(),
            status: "stopped".to_owned(),
            request: Some(MachineRequest {
                exit_event: Some(ExitEvent {
                    exit_code: 3,
                    guest_exit_code: 3,
                    guest_signal: 0,
                    oom_killed: false,
                    requested_stop: false,
                    restarting: true,
                    signal: -1,
                    exited_at: at(1000),
                }),
                restart_count: 2,
                reason: None,
            }),
            source: "flyd".to_owned(),
            timestamp: 1_700_000_001_000,
        }],
        nonce: Some("4ba73d6af1e2".to_owned()),
        lease: Some(MachineLease {
            owner: "ann@example.com".to_owned(),
            description: String::new(),
            expires_at: 1_700_000_060,
        }),
        host_status: "ok".to_owned(),
        ..Machine::default()
    };
    let written = serde_json::to_string_pretty(&machine).unwrap();
    let golden = include_str!("../../golden/machine.json");
    assert_eq!(written, golden.trim_end());
    let read: Machine = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string_pretty(&read).unwrap(), written);
}

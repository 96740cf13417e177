use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::read_value;

fn spec(config: Value) -> Result<MachineSpec, String> {
    let config: MachineConfig = read_value(&config).unwrap();
    config.check().map_err(|error| error.to_string())
}

#[test]
fn an_image_alone_is_a_machine_with_defaults() {
    let spec = spec(json!({"image": "nginx"})).unwrap();
    assert_eq!(spec.image.to_string(), "docker.io/library/nginx:latest");
    assert_eq!(spec.size, GuestSize::default());
    assert_eq!(spec.restart, RestartPolicy::default());
    assert_eq!(spec.stop, StopSpec::default());
}

#[test]
fn broken_rules_name_the_field_and_what_it_allows() {
    for (config, text) in [
        (json!({}), "config.image is required"),
        (
            json!({"image": "A B"}),
            "config.image `A B` does not name an image",
        ),
        (
            json!({"guest": {"cpus": 3}}),
            "config.guest.cpus 3 is not allowed: shared CPUs come as 1, 2, 4, 6, 8",
        ),
        (
            json!({"guest": {"memory_mb": 300}}),
            "config.guest.memory_mb 300 is not allowed: 1 shared CPUs take 256 to 2048",
        ),
        (
            json!({"guest": {"cpu_kind": "fast"}}),
            "config.guest.cpu_kind must be one of \"shared\", \"performance\"",
        ),
        (json!({"guest": {"gpus": 1}}), "config.guest.gpus must be 0"),
        (
            json!({"size": "shared-cpu-3x"}),
            "config.size must be one of shared-cpu-1x",
        ),
        (
            json!({"env": {"A=B": ""}}),
            "config.env has the variable name \"A=B\"",
        ),
        (
            json!({"files": [{"guest_path": "/a/../b"}]}),
            "config.files[0].guest_path must be an absolute path",
        ),
        (
            json!({"files": [{"guest_path": "/a", "raw_value": "%"}]}),
            "config.files[0].raw_value must be base64",
        ),
        (
            json!({"files": [{"guest_path": "/a", "raw_value": "", "secret_name": "s"}]}),
            "config.files[0] must have only one of",
        ),
        (
            json!({"restart": {"policy": "sometimes"}}),
            "config.restart.policy must be one of \"no\", \"on-failure\", \"always\"",
        ),
        (
            json!({"restart": {"max_retries": -1}}),
            "config.restart.max_retries must be from 0 to 1000000, got -1",
        ),
        (
            json!({"stop_config": {"timeout": "9h"}}),
            "config.stop_config.timeout must be at most 300s",
        ),
        (
            json!({"stop_config": {"signal": "SIGSTOP"}}),
            "config.stop_config.signal must be one of \"SIGHUP\"",
        ),
        (json!({"schedule": "yearly"}), "config.schedule"),
        (
            json!({"standbys": ["x"]}),
            "config.standbys[0] `x` is not a machine id",
        ),
        (
            json!({"standbys": ["e784079f004d86"], "services": [{}]}),
            "config.services must be empty for a standby",
        ),
        (
            json!({"dns": {"nameservers": ["one"]}}),
            "config.dns.nameservers[0] must be an IP address",
        ),
        (
            json!({"rootfs": {"size_gb": 4000}}),
            "config.rootfs.size_gb must be from 1 to 1000, got 4000",
        ),
        (
            json!({"services": [{"internal_port": 70000}]}),
            "config.services[0].internal_port must be from 1 to 65535, got 70000",
        ),
        (
            json!({"services": [{"internal_port": 80, "ports": [{"port": 80, "handlers": ["https"]}]}]}),
            "config.services[0].ports[0].handlers[0] must be one of",
        ),
        (
            json!({"services": [{"internal_port": 80, "ports": [{}]}]}),
            "config.services[0].ports[0] must have either port",
        ),
        (
            json!({"services": [{"internal_port": 80, "concurrency": {"soft_limit": 5, "hard_limit": 2}}]}),
            "config.services[0].concurrency.soft_limit must not exceed",
        ),
        (
            json!({"checks": {"up": {"port": 80}}}),
            "config.checks.up.type must be one of \"tcp\", \"http\"",
        ),
        (
            json!({"mounts": [{"path": "/data"}]}),
            "config.mounts[0].volume is required",
        ),
        (
            json!({"mounts": [{"path": "/data", "volume": "vol_1"}]}),
            "config.mounts[0].volume is invalid: `vol_1` is not a volume id: expected vol_",
        ),
        (
            json!({"mounts": [{"path": "/", "volume": "vol_0123456789abcdef"}]}),
            "config.mounts[0].path must be an absolute path below /",
        ),
        (
            json!({"mounts": [{"path": "//.fly/x", "volume": "vol_0123456789abcdef"}]}),
            "config.mounts[0].path must not be in /proc, /sys, /dev or /.fly",
        ),
        (
            json!({"mounts": [{"path": "/a", "name": "a"}, {"path": "/b", "name": "b"}]}),
            "config.mounts must have one entry at most",
        ),
        (
            json!({"metrics": {"path": "/m"}}),
            "config.metrics.port is required",
        ),
        (
            json!({"spot": {"max_price_fraction": 2.0}}),
            "config.spot.max_price_fraction must be above 0",
        ),
        (
            json!({"statics": [{"guest_path": "/x", "url_prefix": "x"}]}),
            "config.statics[0].url_prefix must begin with /",
        ),
        (
            json!({"processes": [{"env_from": [{"env_var": "A", "field_ref": "x"}]}]}),
            "config.processes[0].env_from[0].field_ref must be one of",
        ),
        (
            json!({"init": {"exec": ["a\u{0}"]}}),
            "config.init.exec[0] must not contain a NUL",
        ),
        (
            json!({"containers": [{"name": "a"}]}),
            "config.containers[0].image is required",
        ),
        (
            json!({"containers": [{"name": "a", "image": "x", "depends_on": [{"name": "b"}]}]}),
            "config.containers[0].depends_on[0].name must be one of the containers a",
        ),
        (
            json!({"containers": [{"name": "a", "image": "x", "mounts": [{"name": "v", "path": "/v"}]}]}),
            "config.containers[0].mounts[0].name must be the name of an entry",
        ),
        (
            json!({"containers": [{"name": "a", "image": "x", "healthchecks": [{}]}]}),
            "config.containers[0].healthchecks[0] must have exactly one of",
        ),
    ] {
        let mut config = config;
        if config.get("containers").is_none()
            && config != json!({})
            && config.get("image").is_none()
        {
            config["image"] = json!("nginx");
        }
        let refusal = spec(config).unwrap_err();
        assert!(refusal.starts_with(text), "{refusal}\nis not\n{text}");
    }
}

#[test]
fn dependencies_in_a_circle_are_refused_and_others_are_not() {
    let container = |name: &str, needs: &[&str]| {
        let needs: Vec<Value> = needs.iter().map(|name| json!({"name": name})).collect();
        json!({"name": name, "image": "x", "depends_on": needs})
    };
    let fine = json!({"containers": [container("a", &["b", "c"]), container("b", &["c"]), container("c", &[])]});
    assert_eq!(spec(fine).unwrap().containers.len(), 3);
    for circle in [
        vec![container("a", &["a"])],
        vec![
            container("a", &["b"]),
            container("b", &["c"]),
            container("c", &["b"]),
        ],
    ] {
        let refusal = spec(json!({"containers": circle})).unwrap_err();
        assert!(
            refusal.contains("must not go round in a circle"),
            "{refusal}"
        );
    }
    let sick = json!({"containers": [
        {"name": "a", "image": "x", "depends_on": [{"name": "b", "condition": "healthy"}]},
        {"name": "b", "image": "x"},
    ]});
    assert!(spec(sick).unwrap_err().contains("has no healthchecks"));
}

#[test]
fn sizes_come_from_the_preset_the_guest_or_both() {
    for (config, size) in [
        (json!({"size": "performance-2x"}), "performance 2 4096"),
        (json!({"guest": {"cpus": 2}}), "shared 2 512"),
        (
            json!({"guest": {"cpu_kind": "performance"}}),
            "performance 1 2048",
        ),
        (
            json!({"size": "shared-cpu-2x", "guest": {"memory_mb": 1024}}),
            "shared 2 1024",
        ),
        (
            json!({"guest": {"cpu_kind": "", "cpus": 0, "memory_mb": 0}}),
            "shared 1 256",
        ),
    ] {
        let mut config = config;
        config["image"] = json!("nginx");
        let found = spec(config).unwrap().size;
        let found = format!(
            "{} {} {}",
            found.cpu_kind.as_str(),
            found.cpus,
            found.memory_mib
        );
        assert_eq!(found, size);
    }
}

/// Any JSON, built so that names of real fields turn up often.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("image"),
        Just("guest"),
        Just("env"),
        Just("files"),
        Just("services"),
        Just("containers"),
        Just("name"),
        Just("ports"),
        Just("port"),
        Just("depends_on"),
        Just("dns"),
        Just("schedule"),
        Just("stop_config"),
        Just("timeout"),
        Just("signal"),
        Just("restart"),
        Just("checks"),
        Just("type"),
        Just("guest_path"),
        Just("mode"),
        Just("mounts"),
        Just("path"),
        Just("healthchecks"),
        Just("size"),
        Just("x"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("nginx")),
        Just(Value::from("15s")),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        match read_value::<MachineConfig>(&value) {
            Ok(config) => {
                // What was read says the same again when it is written and read once more.
                let written = serde_json::to_value(&config).unwrap();
                prop_assert_eq!(&read_value::<MachineConfig>(&written).unwrap(), &config);
                let _ = config.check();
            }
            Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = crate::read::<crate::CreateMachine>(&body);
    }
}

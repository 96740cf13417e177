use super::*;

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn applied(before: Value, flags: &ConfigFlags) -> Value {
    let mut config = before.as_object().cloned().unwrap_or_default();
    flags.apply(&mut config).unwrap();
    Value::from(config)
}

#[test]
fn a_new_machine_gets_the_smallest_size_and_what_the_flags_say() {
    let flags = ConfigFlags {
        env: strings(&["A=1", "B=x=y"]),
        metadata: strings(&["role=web"]),
        entrypoint: Some("/bin/sh -c 'echo hi'".to_owned()),
        schedule: Some("hourly".to_owned()),
        restart: Some("on-failure".to_owned()),
        kill_signal: Some("term".to_owned()),
        kill_timeout: Some("30".to_owned()),
        ..ConfigFlags::default()
    };
    assert_eq!(
        applied(json!({}), &flags),
        json!({
            "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
            "init": { "entrypoint": ["/bin/sh", "-c", "echo hi"] },
            "env": { "A": "1", "B": "x=y" },
            "metadata": { "role": "web" },
            "schedule": "hourly",
            "restart": { "policy": "on-failure" },
            "stop_config": { "signal": "SIGTERM", "timeout": "30s" },
        })
    );
}

#[test]
fn an_update_leaves_what_no_flag_names() {
    let before = json!({
        "image": "nginx", "from_the_future": { "a": [1] },
        "guest": { "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096, "kernel_args": ["x"] },
        "env": { "KEEP": "1" }, "restart": { "policy": "always", "max_retries": 3 },
    });
    assert_eq!(applied(before.clone(), &ConfigFlags::default()), before);
    let flags = ConfigFlags {
        size: SizeFlags {
            vm_memory: Some("8gb".to_owned()),
            ..SizeFlags::default()
        },
        ..ConfigFlags::default()
    };
    let after = applied(before, &flags);
    assert_eq!(after["guest"]["memory_mb"], 8192);
    assert_eq!(after["guest"]["kernel_args"], json!(["x"]));
    assert_eq!(after["from_the_future"], json!({ "a": [1] }));
}

#[test]
fn a_machine_that_removes_itself_is_not_restarted() {
    let flags = ConfigFlags::default();
    let after = applied(json!({ "auto_destroy": true }), &flags);
    assert_eq!(after["restart"], json!({ "policy": "no" }));
    let kept = applied(
        json!({ "auto_destroy": true, "restart": { "policy": "on-failure" } }),
        &flags,
    );
    assert_eq!(kept["restart"], json!({ "policy": "on-failure" }));
}

#[test]
fn services_take_the_idle_rules() {
    let flags = ConfigFlags {
        ports: strings(&["80:8080/tcp:http"]),
        autostop: Some("suspend".to_owned()),
        autostart: Some(false),
        ..ConfigFlags::default()
    };
    let after = applied(json!({}), &flags);
    assert_eq!(after["services"][0]["autostop"], "suspend");
    assert_eq!(after["services"][0]["autostart"], false);
}

#[test]
fn files_are_added_replaced_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let local = directory.path().join("a.txt");
    std::fs::write(&local, "from disk").unwrap();
    let flags = ConfigFlags {
        file_local: vec![format!("/a={}", local.display())],
        file_literal: strings(&["/b=text", "/gone="]),
        file_secret: strings(&["/c=TOKEN"]),
        ..ConfigFlags::default()
    };
    let before =
        json!({ "files": [{ "guest_path": "/gone" }, { "guest_path": "/b", "raw_value": "" }] });
    assert_eq!(
        applied(before, &flags)["files"],
        json!([
            { "guest_path": "/b", "raw_value": "dGV4dA==" },
            { "guest_path": "/a", "raw_value": "ZnJvbSBkaXNr" },
            { "guest_path": "/c", "secret_name": "TOKEN" },
        ])
    );
}

#[test]
fn wrong_values_name_their_flag() {
    let wrong = |change: fn(&mut ConfigFlags)| {
        let mut flags = ConfigFlags::default();
        change(&mut flags);
        let error = flags.apply(&mut MachineConfig::new()).unwrap_err();
        format!("{error:#}")
    };
    for (text, flag) in [
        (wrong(|flags| flags.env = strings(&["A"])), "--env"),
        (
            wrong(|flags| flags.restart = Some("maybe".into())),
            "--restart",
        ),
        (
            wrong(|flags| flags.autostop = Some("later".into())),
            "--autostop",
        ),
        (wrong(|flags| flags.ports = strings(&["x"])), "--port x"),
        (
            wrong(|flags| flags.swap_size = Some("x".into())),
            "--swap-size",
        ),
        (
            wrong(|flags| flags.file_local = strings(&["/a=/no/such"])),
            "--file-local",
        ),
        (
            wrong(|flags| flags.file_literal = strings(&["a=b"])),
            "--file-literal",
        ),
        (
            wrong(|flags| flags.entrypoint = Some("'".into())),
            "--entrypoint",
        ),
        (
            wrong(|flags| flags.rootfs_persist = Some("x".into())),
            "--rootfs-persist",
        ),
        (
            wrong(|flags| flags.size.vm_size = Some("x".into())),
            "--vm-size",
        ),
        (
            wrong(|flags| flags.machine_config = Some("{".into())),
            "--machine-config",
        ),
    ] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
}

#[test]
fn the_image_goes_to_the_chosen_container() {
    let mut config: MachineConfig = serde_json::from_value(json!({
        "containers": [{ "name": "web", "image": "a" }, { "name": "side", "image": "b" }],
    }))
    .unwrap();
    let side = ConfigFlags {
        container: Some("side".to_owned()),
        ..ConfigFlags::default()
    };
    side.set_image(&mut config, "new").unwrap();
    ConfigFlags::default()
        .set_image(&mut config, "first")
        .unwrap();
    assert_eq!(config["containers"][0]["image"], "first");
    assert_eq!(config["containers"][1]["image"], "new");
    let none = ConfigFlags {
        container: Some("none".to_owned()),
        ..ConfigFlags::default()
    };
    assert!(none.set_image(&mut config, "x").is_err());
}

#[test]
fn standbys_are_set_and_cleared_with_their_variable() {
    let mut config = MachineConfig::new();
    set_standbys(&mut config, &strings(&["a1", "b2"]));
    assert_eq!(config["standbys"], json!(["a1", "b2"]));
    assert_eq!(config["env"]["FLY_STANDBY_FOR"], "a1,b2");
    set_standbys(&mut config, &[String::new()]);
    assert!(!config.contains_key("standbys"));
    assert_eq!(config["env"], json!({}));
}

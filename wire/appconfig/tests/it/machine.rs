//! What a deployment sets anew in a machine, and what it leaves as it is.

use mayfly_appconfig::{InlineError, MachineError};
use mayfly_wire::{MachineConfig, read_value};
use serde_json::json;

use crate::toml;

#[test]
fn a_deployment_keeps_what_it_does_not_decide() {
    let existing: MachineConfig = read_value(&json!({
        "image": "old", "guest": { "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096 },
        "schedule": "daily", "dns": { "hostname": "x" }, "auto_destroy": true, "standbys": ["3d8d7a11c04e28"],
        "env": { "BY_HAND": "1" }, "metadata": { "mine": "kept", "fly_process_group": "other" },
        "init": { "cmd": ["old"], "tty": true, "kernel_args": ["quiet"], "swap_size_mb": 1 },
        "mounts": [{ "path": "/old", "volume": "vol_1" }], "restart": { "policy": "always" },
        "services": [{ "internal_port": 1 }], "checks": { "old": { "type": "tcp", "port": 1 } },
        "stop_config": { "signal": "SIGTERM" }, "rootfs": { "size_gb": 3 },
    }))
    .unwrap();
    let config = toml("app = 'a'\nprimary_region = 'iad'\n[env]\nA = 'b'\n").config;
    let machine = config.machine_config("app", Some(&existing)).unwrap();
    assert_eq!(
        serde_json::to_value(machine).unwrap(),
        json!({
            "image": "old", "guest": { "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096 },
            "schedule": "daily", "dns": { "hostname": "x" }, "auto_destroy": true, "standbys": ["3d8d7a11c04e28"],
            "env": { "A": "b", "FLY_PROCESS_GROUP": "app", "PRIMARY_REGION": "iad" },
            "metadata": { "mine": "kept", "fly_process_group": "app", "fly_platform_version": "v2" },
            "init": { "tty": true, "kernel_args": ["quiet"] },
            "rootfs": { "size_gb": 3 },
        })
    );
}

#[test]
fn sizes_start_from_the_preset() {
    for (vm, guest) in [
        (
            "",
            json!({ "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 }),
        ),
        (
            "memory = '1gb'",
            json!({ "cpu_kind": "shared", "cpus": 1, "memory_mb": 1024 }),
        ),
        (
            "memory = 512",
            json!({ "cpu_kind": "shared", "cpus": 1, "memory_mb": 512 }),
        ),
        (
            "size = 'shared-cpu-1x'\nmemory_mb = 512",
            json!({ "cpu_kind": "shared", "cpus": 1, "memory_mb": 512 }),
        ),
        (
            "size = 'performance-2x'",
            json!({ "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096 }),
        ),
        (
            "size = 'shared-cpu-2x'\ncpus = 4",
            json!({ "cpu_kind": "shared", "cpus": 4, "memory_mb": 1024 }),
        ),
        (
            "cpu_kind = 'performance'",
            json!({ "cpu_kind": "performance", "cpus": 1, "memory_mb": 2048 }),
        ),
        (
            "persist_rootfs = 'always'\nkernel_args = ['a']",
            json!({ "cpu_kind": "shared", "cpus": 1, "memory_mb": 256, "persist_rootfs": "always", "kernel_args": ["a"] }),
        ),
    ] {
        let reading = toml(&format!("[vm]\n{vm}\n"));
        assert!(reading.is_valid(), "{vm}: {:?}", reading.problems);
        let machine = reading.config.machine_config("app", None).unwrap();
        assert_eq!(serde_json::to_value(machine.guest).unwrap(), guest, "{vm}");
    }
    let none = toml("app = 'a'")
        .config
        .machine_config("app", None)
        .unwrap();
    assert_eq!(none.guest, None);
}

#[test]
fn sizes_that_do_not_exist_are_named_where_they_stand() {
    let reading = toml("[[vm]]\ncpus = 3\n");
    let problem = &reading.problems[0];
    assert_eq!(
        (problem.path.as_str(), problem.line),
        ("vm[0].cpus", 2),
        "{problem}"
    );
}

#[test]
fn local_files_are_read_before_machines_are_made() {
    let text = "machine_config = 'machine.json'\n[[files]]\nguest_path = '/a'\nlocal_path = 'a.txt'\n\
                [[files]]\nguest_path = '/b'\nraw_value = 'no base64!'\n";
    let mut config = toml(text).config;
    assert!(matches!(
        config.machine_config("app", None),
        Err(MachineError::NotInlined { .. })
    ));
    config
        .inline(|path| match path {
            "a.txt" => Ok(b"hello".to_vec()),
            "machine.json" => Ok(br#"{"containers":[{"name":"app","image":"."}]}"#.to_vec()),
            other => Err(other.to_owned()),
        })
        .unwrap();
    let machine = serde_json::to_value(config.machine_config("app", None).unwrap()).unwrap();
    assert_eq!(
        machine["containers"][0]["files"],
        json!([
            { "guest_path": "/a", "raw_value": "aGVsbG8=" },
            { "guest_path": "/b", "raw_value": "bm8gYmFzZTY0IQ==" },
        ])
    );
    assert_eq!(machine["containers"][0]["name"], "app");
    let mut missing = toml("[[files]]\nguest_path = '/a'\nlocal_path = 'gone'").config;
    assert_eq!(
        missing.inline(|path| Err(path.to_owned())),
        Err(InlineError::Read {
            key: "files[0].local_path".to_owned(),
            error: "gone".to_owned()
        })
    );
}

#[test]
fn machines_that_do_one_thing_serve_nobody() {
    let config = toml(
        "console_command = 'rails c'\n[http_service]\ninternal_port = 80\n[[http_service.machine_checks]]\n\
         command = ['curl x']\nimage = 'curl'\n[mounts]\nsource = 'd'\ndestination = '/d'\n[deploy]\n\
         release_command = 'rake db:migrate'\nrelease_command_vm = { memory = '2gb' }\n[restart]\npolicy = 'always'\n",
    )
    .config;
    let release = config.release_machine_config().unwrap().unwrap();
    assert_eq!(
        release.init.as_ref().unwrap().cmd.as_deref().unwrap(),
        ["rake", "db:migrate"]
    );
    assert_eq!(release.env.as_ref().unwrap()["RELEASE_COMMAND"], "1");
    assert_eq!(release.guest.as_ref().unwrap().memory_mb, Some(2048));
    let check = config.machine_checks("app").remove(0);
    let test = config
        .test_machine_config(&check, "app", "fdaa::1")
        .unwrap();
    assert_eq!(test.env.as_ref().unwrap()["FLY_TEST_MACHINE_IP"], "fdaa::1");
    assert_eq!(test.image.as_deref(), Some("curl"));
    let console = config.console_machine_config().unwrap();
    assert_eq!(
        console.init.as_ref().unwrap().cmd.as_deref().unwrap(),
        ["rails", "c"]
    );
    for machine in [release, test, console] {
        assert!(machine.services.is_none() && machine.mounts.is_none() && machine.checks.is_none());
        assert_eq!(machine.auto_destroy, Some(true));
        assert_eq!(machine.restart.unwrap().policy.as_deref(), Some("no"));
        assert_eq!(machine.dns.unwrap().skip_registration, Some(true));
    }
}

#[test]
fn a_compose_file_becomes_containers_of_every_machine() {
    let text = "[build.compose]\n[env]\nA = 'app'\n[http_service]\ninternal_port = 80\n";
    let reading = toml(text);
    assert!(reading.is_valid(), "{:?}", reading.problems);
    let mut config = reading.config;
    config
        .inline(|path| match path {
            "docker-compose.yml" => Ok(b"services:\n  proxy: {image: nginx}\n  web: {build: ., environment: {A: own, B: b}}\n".to_vec()),
            other => Err(other.to_owned()),
        })
        .unwrap();
    let mut machine = config.machine_config("app", None).unwrap();
    config.put_image(&mut machine, "registry/app:1");
    let machine = serde_json::to_value(machine).unwrap();
    assert_eq!(machine["image"], "registry/app:1");
    assert_eq!(
        machine["containers"],
        json!([
            { "name": "proxy", "image": "nginx" },
            { "name": "web", "image": "registry/app:1", "env": { "A": "app", "B": "b" } },
        ])
    );
    let mut wrong = toml(text).config;
    let refused =
        wrong.inline(|_| Ok::<_, ()>(b"services:\n  a: {image: x, privileged: true}\n".to_vec()));
    assert!(
        matches!(refused, Err(InlineError::Compose(problems)) if problems[0].path == "services.a.privileged")
    );
}

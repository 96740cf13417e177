//! Documents as the cloud sends them.

use serde_json::{Value, json};

pub(crate) const ID: &str = "3d8d7a11c04e28";

pub(crate) fn app() -> Value {
    json!({
        "id": "app_1", "name": "web", "status": "deployed", "network": "default", "machine_count": 2,
        "organization": { "name": "Personal", "slug": "personal" },
        "hostname": "web.mayfly.localhost", "app_url": "http://web.mayfly.localhost:8080",
    })
}

pub(crate) fn machine() -> Value {
    json!({
        "id": ID, "name": "still-pond-1", "state": "started", "region": "iad",
        "instance_id": "01JD0000000000000000000001", "version": "01JD0000000000000000000001",
        "private_ip": "fdaa:0:1:a7b:1:2:3:2", "host_status": "ok", "cordoned": false,
        "created_at": "2026-11-21T08:00:00Z", "updated_at": "2026-11-21T08:00:05Z",
        "image_ref": { "registry": "docker.io", "repository": "library/nginx", "tag": "1.27",
            "digest": "sha256:aa11", "labels": {} },
        "config": {
            "image": "nginx:1.27", "from_the_future": { "kept": [1, 2] },
            "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
            "env": { "A": "1" },
            "metadata": { "fly_platform_version": "v2", "fly_process_group": "web", "fly_release_version": "4" },
            "init": { "cmd": ["nginx", "-g", "daemon off;"] },
            "services": [{ "protocol": "tcp", "internal_port": 8080,
                "ports": [{ "port": 443, "handlers": ["tls", "http"] }] }],
        },
        "checks": [
            { "name": "http", "status": "passing", "output": "200 OK", "updated_at": "2020-01-02T03:04:05Z" },
            { "name": "disk", "status": "critical", "output": "full\nvery", "updated_at": "2020-01-02T03:04:05Z" },
        ],
        "events": [
            { "type": "exit", "status": "stopped", "source": "flyd", "timestamp": 1_763_712_000_123_i64,
              "request": { "exit_event": { "exit_code": 137, "oom_killed": true, "requested_stop": false } } },
            { "type": "launch", "status": "created", "source": "user", "timestamp": 1_763_712_000_000_i64 },
        ],
    })
}

/// A standby of [`machine`] whose host is away.
pub(crate) fn standby() -> Value {
    json!({
        "id": "90801d5b1e7987", "name": "old-oak-2", "state": "stopped", "region": "fra", "host_status": "unreachable",
        "instance_id": "01JD0000000000000000000002", "private_ip": "fdaa:0:1:a7b:1:2:4:2",
        "created_at": "2026-11-21T08:01:00Z", "updated_at": "2026-11-21T08:01:05Z",
        "image_ref": { "registry": "docker.io", "repository": "library/redis", "tag": "7" },
        "config": null,
        "incomplete_config": { "standbys": [ID], "guest": { "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096 } },
    })
}

mod check;
mod service;

use super::Bare::Seconds;
use super::Kind::{
    self, Any, AppName, Bool, Choice, Command, Duration, Integer, List, Map, Named, Number, Preset,
    Size, Table, Text, Words,
};
use super::{Key, Section, Unit};
use check::{CHECK, MACHINE_CHECK};
use service::{HTTP_SERVICE, SERVICE};

const PORT: Kind = Integer(1, 65535);
const COUNT: Kind = Integer(0, 1_000_000);
const SIGNALS: Kind = Choice(&[
    "SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP",
]);
const GIGABYTES: Unit = Unit::Gigabytes {
    least: 1,
    most: 500,
};

const fn key(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        name,
        aliases: &[],
        kind,
        meaning,
    }
}

const fn alias(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        aliases,
        kind,
        meaning,
    }
}

const fn section(keys: &'static [Key]) -> Section {
    with(&[], keys)
}

/// A table that must have some of its keys.
const fn with(required: &'static [&'static str], keys: &'static [Key]) -> Section {
    Section {
        keys,
        required,
        retired: &[],
    }
}

const PROCESSES: Key = key(
    "processes",
    Words,
    "Process groups this applies to; without it the default group.",
);

pub(crate) static ROOT: Section = Section {
    required: &[],
    keys: &[
        key("app", AppName, "Name of the app."),
        key(
            "primary_region",
            Text,
            "Region of new machines and volumes; machines see it as PRIMARY_REGION.",
        ),
        key(
            "kill_signal",
            SIGNALS,
            "Signal that asks the program to end (default SIGINT).",
        ),
        key(
            "kill_timeout",
            Duration(Seconds),
            "How long the program may take to end before it is killed (default 5s, at most 300s).",
        ),
        key(
            "swap_size_mb",
            Integer(0, 65536),
            "Swap space of each machine in MB.",
        ),
        key(
            "console_command",
            Text,
            "What `console` runs in a machine of its own.",
        ),
        key(
            "host_dedication_id",
            Text,
            "Dedicated hosts the machines are placed on.",
        ),
        key(
            "machine_config",
            Text,
            "Base configuration of machines: JSON, or the path of a JSON file.",
        ),
        key(
            "container",
            Text,
            "Container that gets the app's image, variables and files (default `app`, else the first).",
        ),
        key(
            "experimental",
            Table(&EXPERIMENTAL),
            "Settings that may change.",
        ),
        key("build", Table(&BUILD), "How the image is made."),
        key(
            "deploy",
            Table(&DEPLOY),
            "How a new release replaces the old one.",
        ),
        key(
            "env",
            Map(&Text),
            "Variables of the app's machines. For passwords and keys use secrets.",
        ),
        key(
            "processes",
            Map(&Text),
            "Process groups by name, each with the command it runs.",
        ),
        alias(
            "mounts",
            &["mount"],
            List(&MOUNT),
            "Volumes, at most one per process group.",
        ),
        key(
            "http_service",
            Table(&HTTP_SERVICE),
            "An HTTP service on ports 80 and 443.",
        ),
        alias(
            "services",
            &["service"],
            List(&SERVICE),
            "Ports of machines that the edge routes to.",
        ),
        key(
            "checks",
            Named(&CHECK),
            "Health checks by name that do not decide about routing.",
        ),
        key(
            "files",
            List(&FILE),
            "Files written into each machine when it starts.",
        ),
        key(
            "statics",
            List(&STATIC),
            "Files of the image that the edge serves itself.",
        ),
        key("metrics", List(&METRICS), "Where machines offer metrics."),
        key(
            "restart",
            List(&RESTART),
            "What happens when a program ends.",
        ),
        alias(
            "vm",
            &["compute", "computes", "vms"],
            List(&VM),
            "How large machines are.",
        ),
        key(
            "machine_checks",
            List(&MACHINE_CHECK),
            "Commands that test every new machine from another one.",
        ),
        key("regions", Map(&COUNT), "How many machines each region has."),
    ],
    retired: &[],
};

static EXPERIMENTAL: Section = Section {
    required: &[],
    keys: &[
        key("cmd", Command, "Instead of the image's CMD."),
        key("entrypoint", Command, "Instead of the image's ENTRYPOINT."),
        key("exec", Command, "Instead of everything the image says."),
        key(
            "auto_rollback",
            Bool,
            "Go back to the previous release when a deployment fails.",
        ),
        key("enable_consul", Bool, "Give machines FLY_CONSUL_URL."),
        key("enable_etcd", Bool, "Accepted for compatibility."),
        key("lazy_load_images", Bool, "Accepted for compatibility."),
        key("attached", Any, "Accepted for compatibility."),
        key(
            "machine_config",
            Text,
            "As the key of the same name outside of this section.",
        ),
        key(
            "container",
            Text,
            "As the key of the same name outside of this section.",
        ),
    ],
    retired: &[(
        "allowed_public_ports",
        "is of the platform before machines and means nothing",
    )],
};

static BUILD: Section = Section {
    required: &[],
    keys: &[
        key("builder", Text, "Image of a buildpacks builder."),
        key("buildpacks", Words, "Buildpacks for the builder."),
        key("args", Map(&Text), "Build arguments."),
        key("image", Text, "An image to use as it is; nothing is built."),
        key("settings", Any, "Settings of a builtin builder."),
        key("builtin", Text, "A builtin builder."),
        key(
            "dockerfile",
            Text,
            "Path of the Dockerfile, or its http(s) address.",
        ),
        key("ignorefile", Text, "Path of the .dockerignore file."),
        alias(
            "build-target",
            &["build_target"],
            Text,
            "Stage of the Dockerfile to build.",
        ),
        key(
            "compose",
            Table(&COMPOSE),
            "Run the services of a Compose file as containers of each machine.",
        ),
        key(
            "compression",
            Choice(&["gzip", "zstd"]),
            "Compression of the image's layers.",
        ),
        key(
            "compression_level",
            Integer(0, 9),
            "Level of the compression.",
        ),
    ],
    retired: &[],
};

static COMPOSE: Section = section(&[key("file", Text, "Path of the Compose file.")]);

static DEPLOY: Section = section(&[
    key(
        "strategy",
        Choice(&["rolling", "canary", "bluegreen", "immediate"]),
        "How machines are replaced (default rolling).",
    ),
    key(
        "max_unavailable",
        Number(0.0, 1_000_000.0),
        "Machines that may be away during a rolling deployment: a share below 1, or a count (default 0.33).",
    ),
    key(
        "wait_timeout",
        Duration(Seconds),
        "How long a machine may take to start and pass its checks (default 5m).",
    ),
    key(
        "release_command",
        Text,
        "Command that runs once with the new image before any machine is replaced.",
    ),
    key(
        "release_command_timeout",
        Duration(Seconds),
        "How long the release command may take (default 5m).",
    ),
    key(
        "release_command_vm",
        Table(&VM),
        "Size of the release command's machine.",
    ),
    key(
        "seed_command",
        Text,
        "Command that runs once at the first deployment, after the release command.",
    ),
]);

static MOUNT: Section = with(
    &["source", "destination"],
    &[
        key("source", Text, "Name of the volume."),
        key("destination", Text, "Where it appears in the machine."),
        key(
            "initial_size",
            Size(Unit::Gigabytes {
                least: 1,
                most: 500,
            }),
            "Size of new volumes (default 1gb).",
        ),
        key(
            "snapshot_retention",
            Integer(1, 60),
            "Days snapshots are kept (default 5).",
        ),
        key(
            "scheduled_snapshots",
            Bool,
            "Take a snapshot every day (default true).",
        ),
        key(
            "auto_extend_size_threshold",
            Integer(50, 99),
            "Percentage of use at which the volume grows.",
        ),
        key(
            "auto_extend_size_increment",
            Size(Unit::Gigabytes {
                least: 1,
                most: 100,
            }),
            "By how much it grows.",
        ),
        key(
            "auto_extend_size_limit",
            Size(GIGABYTES),
            "How large it may become.",
        ),
        PROCESSES,
    ],
);

static FILE: Section = with(
    &["guest_path"],
    &[
        key("guest_path", Text, "Where the file appears in the machine."),
        key("local_path", Text, "File here that is written there."),
        key(
            "secret_name",
            Text,
            "Secret that holds the content, in base64.",
        ),
        key("raw_value", Text, "The content itself, in base64."),
        PROCESSES,
    ],
);

static STATIC: Section = with(
    &["guest_path", "url_prefix"],
    &[
        key("guest_path", Text, "Directory in the image."),
        key("url_prefix", Text, "Paths that are answered from it."),
        key("tigris_bucket", Text, "Bucket to answer from instead."),
        key("index_document", Text, "File that answers for a directory."),
    ],
);

static METRICS: Section = with(
    &["port"],
    &[
        key("port", PORT, "Port of the metrics."),
        key("path", Text, "Path of the metrics (default /metrics)."),
        key("https", Bool, "Ask by HTTPS."),
        PROCESSES,
    ],
);

static RESTART: Section = section(&[
    key(
        "policy",
        Choice(&["always", "never", "no", "on-failure"]),
        "When a program that ended is started again (default on-failure).",
    ),
    alias(
        "retries",
        &["max_retries"],
        COUNT,
        "How often before giving up.",
    ),
    PROCESSES,
]);

static VM: Section = section(&[
    key(
        "size",
        Preset,
        "A size by name, such as shared-cpu-1x; see `platform vm-sizes`.",
    ),
    key(
        "memory",
        Size(Unit::Megabytes),
        "Memory, in MB or such as \"1gb\".",
    ),
    key(
        "cpu_kind",
        Choice(&["shared", "performance"]),
        "shared or performance.",
    ),
    key("cpus", Integer(1, 1024), "Number of CPUs."),
    key(
        "memory_mb",
        Integer(1, 16 << 20),
        "Memory in MB; wins over memory.",
    ),
    key(
        "max_memory_mb",
        Integer(1, 16 << 20),
        "Memory a machine may grow to, in MB.",
    ),
    key("gpus", Integer(0, 16), "Number of GPUs."),
    key("gpu_kind", Text, "Kind of GPUs."),
    key(
        "host_dedication_id",
        Text,
        "Dedicated hosts the machines are placed on.",
    ),
    key("kernel_args", Words, "Arguments of the kernel."),
    key(
        "persist_rootfs",
        Choice(&["never", "restart", "always"]),
        "Whether the root filesystem outlives a stop.",
    ),
    PROCESSES,
]);

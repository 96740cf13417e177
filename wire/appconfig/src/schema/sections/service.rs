use super::super::Kind::{
    Any, AutoStop, Bool, Choice, Choices, Concurrency, Integer, List, Table, Text, Words,
};
use super::super::Section;
use super::check::{HTTP_CHECK, MACHINE_CHECK, TCP_CHECK};
use super::{COUNT, PORT, PROCESSES, alias, key, section, with};

pub(super) static HTTP_SERVICE: Section = with(
    &["internal_port"],
    &[
        key(
            "internal_port",
            PORT,
            "Port the app listens on in the machine.",
        ),
        key("force_https", Bool, "Redirect HTTP to HTTPS."),
        key(
            "auto_stop_machines",
            AutoStop,
            "What happens to machines without work: off, stop or suspend.",
        ),
        key(
            "auto_start_machines",
            Bool,
            "Start a machine when a request finds none.",
        ),
        key(
            "min_machines_running",
            COUNT,
            "Machines kept running in the primary region.",
        ),
        PROCESSES,
        key(
            "concurrency",
            Concurrency(&CONCURRENCY),
            "Load a machine takes.",
        ),
        key("tls_options", Table(&TLS_OPTIONS), "TLS of port 443."),
        key(
            "http_options",
            Table(&HTTP_OPTIONS),
            "HTTP of ports 80 and 443.",
        ),
        alias(
            "checks",
            &["http_checks"],
            List(&HTTP_CHECK),
            "HTTP checks that decide about routing.",
        ),
        key(
            "tcp_checks",
            List(&TCP_CHECK),
            "TCP checks that decide about routing.",
        ),
        key(
            "machine_checks",
            List(&MACHINE_CHECK),
            "Commands that test every new machine from another one.",
        ),
    ],
);

pub(super) static SERVICE: Section = Section {
    required: &[],
    keys: &[
        key(
            "protocol",
            Choice(&["tcp", "udp"]),
            "tcp or udp (default tcp).",
        ),
        key(
            "internal_port",
            PORT,
            "Port the app listens on in the machine (default 8080).",
        ),
        key(
            "auto_stop_machines",
            AutoStop,
            "What happens to machines without work: off, stop or suspend.",
        ),
        key(
            "auto_start_machines",
            Bool,
            "Start a machine when a request finds none.",
        ),
        key(
            "min_machines_running",
            COUNT,
            "Machines kept running in the primary region.",
        ),
        alias("ports", &["port"], List(&SERVICE_PORT), "Public ports."),
        key(
            "concurrency",
            Concurrency(&CONCURRENCY),
            "Load a machine takes.",
        ),
        key(
            "tcp_checks",
            List(&TCP_CHECK),
            "TCP checks that decide about routing.",
        ),
        alias(
            "http_checks",
            &["checks"],
            List(&HTTP_CHECK),
            "HTTP checks that decide about routing.",
        ),
        key(
            "machine_checks",
            List(&MACHINE_CHECK),
            "Commands that test every new machine from another one.",
        ),
        PROCESSES,
    ],
    retired: &[(
        "script_checks",
        "are of the platform before machines and are not run; use machine_checks",
    )],
};

static SERVICE_PORT: Section = section(&[
    key("port", PORT, "A public port."),
    key("start_port", PORT, "First of a range of public ports."),
    key("end_port", PORT, "Last of a range of public ports."),
    key(
        "handlers",
        Choices(&["http", "tls", "pg_tls", "proxy_proto", "edge_http"]),
        "What the edge does before the app gets the bytes.",
    ),
    key("force_https", Bool, "Redirect HTTP to HTTPS."),
    key("tls_options", Table(&TLS_OPTIONS), "TLS of this port."),
    key("http_options", Table(&HTTP_OPTIONS), "HTTP of this port."),
    key(
        "proxy_proto_options",
        Table(&PROXY_PROTO),
        "The PROXY protocol of this port.",
    ),
]);

static PROXY_PROTO: Section = section(&[key("version", Choice(&["v1", "v2"]), "v1 or v2.")]);

static TLS_OPTIONS: Section = section(&[
    key(
        "alpn",
        Words,
        "Protocols offered, best first: h2, http/1.1, or what the app behind a port without the http handler speaks.",
    ),
    key(
        "versions",
        Choices(&["TLSv1.2", "TLSv1.3"]),
        "Versions of TLS.",
    ),
    key(
        "default_self_signed",
        Bool,
        "Answer with a self-signed certificate where there is no other.",
    ),
]);

static HTTP_OPTIONS: Section = section(&[
    key("compress", Bool, "Compress answers."),
    key("response", Table(&HTTP_RESPONSE), "Changes to answers."),
    key("h2_backend", Bool, "Speak HTTP/2 without TLS to the app."),
    key(
        "idle_timeout",
        Integer(1, 86400),
        "Seconds a connection may be idle.",
    ),
    key(
        "headers_read_timeout",
        Integer(1, 86400),
        "Seconds a client may take to send its headers.",
    ),
    key(
        "replay_cache",
        List(&REPLAY_CACHE),
        "Replays the edge remembers.",
    ),
]);

static HTTP_RESPONSE: Section = section(&[
    key(
        "headers",
        Any,
        "Headers set on every answer: a text, a list of texts, or false to take one away.",
    ),
    key("pristine", Bool, "Add no headers of the edge."),
]);

static REPLAY_CACHE: Section = section(&[
    key("path_prefix", Text, "Paths this is for."),
    key(
        "ttl_seconds",
        Integer(10, 31_536_000),
        "Seconds a replay is remembered.",
    ),
    key(
        "type",
        Choice(&["cookie", "header"]),
        "What tells clients apart.",
    ),
    key("name", Text, "Name of the cookie or header."),
    key("allow_bypass", Bool, "Let clients ask for no cache."),
]);

static CONCURRENCY: Section = section(&[
    key(
        "type",
        Choice(&["connections", "requests"]),
        "What is counted (default connections).",
    ),
    key(
        "soft_limit",
        COUNT,
        "Above this, other machines are preferred and started (default 20).",
    ),
    key(
        "hard_limit",
        COUNT,
        "Above this, the machine gets nothing more.",
    ),
]);

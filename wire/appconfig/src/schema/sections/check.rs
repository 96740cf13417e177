use super::super::Bare::{Milliseconds, Seconds};
use super::super::Kind::{Bool, Choice, Command, Duration, Headers, Text};
use super::super::{Key, Section};
use super::{PORT, PROCESSES, SIGNALS, key, with};

const INTERVAL: Key = key(
    "interval",
    Duration(Milliseconds),
    "Time between two checks.",
);
const TIMEOUT: Key = key("timeout", Duration(Milliseconds), "Time a check may take.");
const GRACE_PERIOD: Key = key(
    "grace_period",
    Duration(Milliseconds),
    "Time after the start in which failures do not count.",
);
const METHOD: Key = key("method", Text, "Method of the request (default GET).");
const PATH: Key = key("path", Text, "Path of the request (default /).");
const PROTOCOL: Key = key(
    "protocol",
    Choice(&["http", "https"]),
    "http or https (default http).",
);
const TLS_SKIP_VERIFY: Key = key("tls_skip_verify", Bool, "Accept any certificate.");
const TLS_SERVER_NAME: Key = key("tls_server_name", Text, "Name the certificate must be for.");
const HEADERS: Key = key("headers", Headers, "Headers of the request.");
const RESTART_LIMIT: (&str, &str) = (
    "restart_limit",
    "is of the platform before machines: failing checks restart nothing",
);

pub(super) static TCP_CHECK: Section = Section {
    required: &[],
    keys: &[INTERVAL, TIMEOUT, GRACE_PERIOD],
    retired: &[RESTART_LIMIT],
};

pub(super) static HTTP_CHECK: Section = Section {
    required: &[],
    keys: &[
        INTERVAL,
        TIMEOUT,
        GRACE_PERIOD,
        METHOD,
        PATH,
        PROTOCOL,
        TLS_SKIP_VERIFY,
        TLS_SERVER_NAME,
        HEADERS,
    ],
    retired: &[RESTART_LIMIT],
};

pub(super) static CHECK: Section = Section {
    required: &["type"],
    keys: &[
        key("type", Choice(&["http", "tcp"]), "http or tcp."),
        key(
            "port",
            PORT,
            "Port to check (default that of http_service).",
        ),
        key(
            "kind",
            Choice(&["informational", "readiness"]),
            "Whether the check decides when a deployment goes on.",
        ),
        INTERVAL,
        TIMEOUT,
        GRACE_PERIOD,
        METHOD,
        PATH,
        PROTOCOL,
        TLS_SKIP_VERIFY,
        TLS_SERVER_NAME,
        HEADERS,
        PROCESSES,
    ],
    retired: &[RESTART_LIMIT],
};

pub(super) static MACHINE_CHECK: Section = with(
    &["command"],
    &[
        key(
            "command",
            Command,
            "What the test machine runs; FLY_TEST_MACHINE_IP is the machine under test.",
        ),
        key(
            "image",
            Text,
            "Image of the test machine (default the app's).",
        ),
        key("entrypoint", Command, "Instead of the image's ENTRYPOINT."),
        key("kill_signal", SIGNALS, "Signal that asks the test to end."),
        key(
            "kill_timeout",
            Duration(Seconds),
            "How long the test may take to end.",
        ),
    ],
);

use mayfly_logs::{Line, LogLimits, LogWriter, Source};
use mayfly_machine::{CheckStatus, EventKind, Happening, Machine, RestartMode, Signal};
use mayfly_runtime::report;
use mayfly_types::{MachineId, Timestamp};
use tracing::warn;

use crate::config::HostConfig;

/// Adds the platform's own lines to a machine's log, beside the machine's output. A log that cannot be written is no
/// reason to hold up the machine: the failure is told to the operator.
pub(crate) async fn write(
    config: &HostConfig,
    machine: MachineId,
    at: Timestamp,
    lines: Vec<String>,
) {
    if lines.is_empty() {
        return;
    }
    let dir = config.log_dir(machine);
    let written = tokio::task::spawn_blocking(move || {
        let lines: Vec<Line<'_>> = lines
            .iter()
            .map(|message| Line {
                at,
                source: Source::Runner,
                stream: "",
                container: None,
                message,
            })
            .collect();
        LogWriter::open(dir, LogLimits::default())?.append(&lines)
    })
    .await
    .expect("writing lines does not panic");
    if let Err(error) = written {
        warn!(machine_id = %machine, error = report(&error), "line not logged");
    }
}

/// What is worth a line in the machine's own log.
pub(crate) fn lines(machine: &Machine, happenings: &[Happening]) -> Vec<String> {
    let mut lines = Vec::new();
    for happening in happenings {
        match &happening.kind {
            EventKind::Exit(exit) => {
                lines.push(if exit.signal > 0 {
                    let name = Signal::try_from(exit.signal)
                        .map_or_else(|_| exit.signal.to_string(), |signal| signal.to_string());
                    format!("Main child exited with signal {name}")
                } else {
                    format!("Main child exited normally with code: {}", exit.exit_code)
                });
                if exit.oom_killed {
                    lines.push("Out of memory: the kernel killed a process of the machine".into());
                }
                let policy = machine.version.spec.restart;
                let gave_up = policy.limit().filter(|limit| {
                    *limit > 0
                        && exit.restart_count >= *limit
                        && !exit.restarting
                        && !exit.requested_stop
                        && (policy.mode == RestartMode::Always
                            || exit.exit_code != 0
                            || exit.oom_killed)
                });
                if let Some(limit) = gave_up {
                    lines.push(format!(
                        "machine has reached its max restart count of {limit}"
                    ));
                }
            }
            EventKind::LaunchFailed { reason } => lines.push(format!("Could not start: {reason}")),
            EventKind::Suspend => lines.push("Machine suspended".into()),
            EventKind::Resume => lines.push("Machine resumed".into()),
            EventKind::Update => lines.push(format!(
                "Updating machine to version {}",
                machine.version.instance_id
            )),
            EventKind::Stop => lines.push("Stopping machine".into()),
            EventKind::Restart => lines.push("Restarting machine".into()),
            EventKind::Check(turn) => lines.push(match turn.to {
                CheckStatus::Critical => {
                    format!("Health check '{}' is critical: {}", turn.name, turn.output)
                }
                to => format!("Health check '{}' is {}", turn.name, to.as_str()),
            }),
            EventKind::VolumeRepaired(note) => lines.push(format!(
                "Volume {} could not be mounted and was repaired: {}",
                note.volume, note.said
            )),
            EventKind::Launch | EventKind::Start | EventKind::Destroy | EventKind::Session(_) => {}
        }
    }
    lines
}

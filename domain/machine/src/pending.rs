use mayfly_types::Timestamp;

use crate::{Effect, Launch, Machine, Phase};

/// What is to be done now, in order. After a crash this is all there is to know: the effects of a phase may be repeated.
pub fn pending(machine: &Machine, now: Timestamp) -> Vec<Effect> {
    let watch = machine.phase.guest().map(|guest| Effect::Watch {
        launch_id: guest.launch_id,
    });
    let act = match &machine.phase {
        Phase::Creating { then, tries, .. } => (now >= tries.next_at).then_some(Effect::Prepare {
            images: *then == Launch::Now,
        }),
        Phase::Updating { tries, .. } => {
            (now >= tries.next_at).then_some(Effect::Prepare { images: true })
        }
        Phase::Starting {
            launch_id, tries, ..
        } => (now >= tries.next_at).then_some(Effect::Launch {
            launch_id: *launch_id,
        }),
        Phase::Suspending { guest, .. } => Some(Effect::Freeze {
            launch_id: guest.launch_id,
        }),
        Phase::Resuming { guest, .. } => Some(Effect::Thaw {
            launch_id: guest.launch_id,
        }),
        Phase::Stopping { guest: None, .. } => Some(Effect::Observe),
        Phase::Stopping {
            launch_id,
            signal,
            asked,
            kill_at,
            ..
        } => {
            if now >= *kill_at {
                Some(Effect::Kill {
                    launch_id: *launch_id,
                })
            } else {
                (!asked).then_some(Effect::Signal {
                    launch_id: *launch_id,
                    signal: *signal,
                })
            }
        }
        Phase::Restarting { cleaned, .. }
        | Phase::Stopped { cleaned, .. }
        | Phase::Failed { cleaned, .. }
        | Phase::LaunchFailed { cleaned, .. } => (!cleaned).then_some(Effect::Clean),
        Phase::Destroying { .. } => Some(Effect::Remove),
        Phase::Started { .. } | Phase::Suspended { .. } | Phase::Destroyed { .. } => None,
    };
    act.into_iter().chain(watch).collect()
}

/// When the machine wants to be looked at again although nothing happens, computed from the stored phase.
pub fn wake_at(machine: &Machine, now: Timestamp) -> Option<Timestamp> {
    let phase = match &machine.phase {
        Phase::Creating { tries, .. }
        | Phase::Updating { tries, .. }
        | Phase::Starting { tries, .. } => (tries.next_at > now).then_some(tries.next_at),
        Phase::Stopping { kill_at, .. } => (*kill_at > now).then_some(*kill_at),
        Phase::Restarting { due_at, .. } => Some(*due_at),
        Phase::LaunchFailed { destroy_at, .. } => Some(*destroy_at),
        _ => None,
    };
    let schedule = match machine.phase {
        Phase::Destroying { .. } | Phase::Destroyed { .. } => None,
        _ => machine.timetable.map(|timetable| timetable.next_at),
    };
    phase.into_iter().chain(schedule).min()
}

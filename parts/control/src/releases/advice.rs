//! `/v1/apps/<app>/scale/advice`: which sizes suit an app, by what its machines used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use mayfly_control_store::{Machine, MachineEvent};
use mayfly_deploy::{Advice, Measured, Verdict, advise};
use mayfly_machine::{Levels, Usage};
use mayfly_types::{HostId, MachineId, Timestamp};
use mayfly_wire::{AdvisedSize, SizeAdvice, UsageLevels};
use tracing::debug;

use super::alike::counts_in;
use super::content::group_of;
use crate::access::AppAccess;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::http::query::Query;

/// Ends for want of memory count for so long.
const OOM_KILLS_COUNT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// The newest events of each machine among which they are looked for.
const EVENTS_SEEN: u32 = 50;

/// `GET …/scale/advice`.
pub(crate) async fn advice(
    State(cloud): State<Arc<Cloud>>,
    access: AppAccess,
    query: Query,
) -> Result<Json<Vec<SizeAdvice>>, ApiError> {
    query.only(&[])?;
    let store = &cloud.store;
    let machines = cloud.machines_of(&access.app, false).await?;
    let events = store.app_machine_events(access.app.id, EVENTS_SEEN, false);
    let (events, used) = (events.await?, Used::of(&cloud, &machines).await);
    let since = cloud.now() - OOM_KILLS_COUNT_FOR;
    let groups: BTreeSet<String> = machines.iter().map(group_of).collect();
    let enough = cloud.settings.measured_enough;
    let advised = groups.into_iter().filter_map(|group| {
        let own: Vec<&Machine> = machines
            .iter()
            .filter(|machine| counts_in(machine, &group))
            .collect();
        let of = |machine: &Machine| events.get(&machine.id).map_or(&[][..], Vec::as_slice);
        let measured = own.iter().map(|machine| Measured {
            size: machine.spec.size,
            usage: used.by_machine.get(&machine.id).copied(),
            oom_kills: oom_kills(of(machine), since),
        });
        let measured: Vec<Measured> = measured.collect();
        let silent = own.iter().filter(|one| used.silent.contains(&one.host_id));
        let unheard = silent.count();
        let advice = advise(&measured, enough)?;
        Some(SizeAdvice {
            process_group: group,
            machines: own.len(),
            enough_seconds: enough.as_secs(),
            unheard,
            ..view(advice)
        })
    });
    Ok(Json(advised.collect()))
}

/// What hosts say that their machines used.
struct Used {
    by_machine: BTreeMap<MachineId, Usage>,
    /// Hosts that did not answer.
    silent: BTreeSet<HostId>,
}

impl Used {
    /// Asks all hosts of these machines at once.
    async fn of(cloud: &Cloud, machines: &[Machine]) -> Used {
        let mut by_host: BTreeMap<HostId, Vec<&Machine>> = BTreeMap::new();
        for machine in machines {
            by_host.entry(machine.host_id).or_default().push(machine);
        }
        let asked = by_host.into_iter().map(|(host, machines)| async move {
            let ids = machines.iter().map(|machine| machine.id).collect();
            let answer = match cloud.host_of(machines[0]) {
                Ok(api) => api.usage(ids).await,
                Err(error) => Err(error),
            };
            (host, answer)
        });
        let mut used = Used {
            by_machine: BTreeMap::new(),
            silent: BTreeSet::new(),
        };
        for (host, answer) in join_all(asked).await {
            match answer {
                Ok(usages) => used.by_machine.extend(usages),
                Err(error) => {
                    debug!(host_id = %host, %error, "what its machines used is not known");
                    used.silent.insert(host);
                }
            }
        }
        used
    }
}

/// How often a machine was ended for want of memory since then, as it is: what was before its last update does not count.
fn oom_kills(newest_first: &[MachineEvent], since: Timestamp) -> u32 {
    let of_now = newest_first
        .iter()
        .take_while(|event| event.at >= since && event.kind != "update");
    let kills = of_now.filter(|event| {
        let exit = event.request.as_ref();
        let killed = exit.and_then(|exit| exit.pointer("/exit_event/oom_killed")?.as_bool());
        killed == Some(true)
    });
    u32::try_from(kills.count()).unwrap_or(u32::MAX)
}

fn view(advice: Advice) -> SizeAdvice {
    let (verdict, advised) = match advice.verdict {
        Verdict::Wait => ("wait", None),
        Verdict::Keep => ("keep", None),
        Verdict::Change(size) => (
            "change",
            Some(AdvisedSize {
                size: size.to_string(),
                memory_mb: size.memory_mib,
            }),
        ),
    };
    SizeAdvice {
        size: advice.size.to_string(),
        memory_mb: advice.size.memory_mib,
        measured_seconds: advice.measured.as_secs(),
        memory_used_mb: levels(advice.memory_mib),
        cpu_used_millis: levels(advice.cpu_millis),
        oom_kills: advice.oom_kills,
        verdict: verdict.to_owned(),
        advised,
        reasons: advice.reasons,
        ..SizeAdvice::default()
    }
}

fn levels(levels: Levels) -> UsageLevels {
    let Levels { mean, p95, peak } = levels;
    UsageLevels { mean, p95, peak }
}

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mayfly_machine::{BurstBudget, CpuKind, CpuLimit, GuestRef, GuestSize, Phase};
use mayfly_runtime::{LoopStatus, Stop, report};
use mayfly_types::{LaunchId, MachineId};
use tokio::time::Instant;

use crate::host::Shared;

const PERIOD: Duration = Duration::from_secs(1);

/// CPU seconds per CPU that a machine which spent everything must have saved before it may run freely again: else it
/// would be let loose and caught every second.
const FREE_AGAIN: f64 = 1.0;

/// What is known of a started machine with shared CPUs.
struct Account {
    launch_id: LaunchId,
    budget: BurstBudget,
    is_limited: bool,
    look_at: Instant,
}

/// Keeps shared CPUs within their burst budgets. A machine is looked at when it could have spent its savings at full
/// speed at the soonest, so an idle one costs a look every few minutes.
pub(super) async fn run(shared: Arc<Shared>, stop: Stop) {
    let status = shared.deps.board.loop_named("host.burst");
    let mut accounts = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let begun = shared.now();
        let (applied, last_error) = turn(&shared, &mut accounts).await;
        status.publish(LoopStatus {
            ran_at: Some(begun),
            took: shared.now().since(begun),
            applied,
            waiting: 0,
            last_error,
        });
    }
}

async fn turn(
    shared: &Shared,
    accounts: &mut HashMap<MachineId, Account>,
) -> (u64, Option<String>) {
    let started: HashMap<MachineId, (GuestRef, GuestSize)> = shared
        .registry
        .all()
        .iter()
        .filter_map(|stored| {
            let machine = &stored.machine;
            let size = machine.version.spec.size;
            match machine.phase {
                Phase::Started { guest } if size.cpu_kind == CpuKind::Shared => {
                    Some((machine.identity.machine_id, (guest, size)))
                }
                _ => None,
            }
        })
        .collect();
    accounts.retain(|id, account| {
        started
            .get(id)
            .is_some_and(|(guest, _)| guest.launch_id == account.launch_id)
    });
    let (mut applied, mut last_error) = (0, None);
    for (id, (guest, size)) in started {
        let Some(budget) = BurstBudget::new(size, guest.started_at) else {
            continue;
        };
        let account = accounts.entry(id).or_insert_with(|| Account {
            launch_id: guest.launch_id,
            budget,
            is_limited: false,
            look_at: Instant::now(),
        });
        if Instant::now() < account.look_at {
            continue;
        }
        match account.look(shared, id, size).await {
            Ok(changed) => applied += u64::from(changed),
            Err(mayfly_driver::DriverError::NotRunning(_)) => {}
            Err(error) => last_error = Some(report(&error)),
        }
    }
    (applied, last_error)
}

impl Account {
    /// Books what the guest used, and changes its limit if need be; true if it did.
    async fn look(
        &mut self,
        shared: &Shared,
        id: MachineId,
        size: GuestSize,
    ) -> Result<bool, mayfly_driver::DriverError> {
        let driver = &shared.deps.driver;
        let used = Duration::from_micros(driver.cpu_used_us(id).await?);
        let limit = self.budget.book(size, used, shared.now());
        let saved = self.budget.balance() / f64::from(size.cpus);
        self.look_at = Instant::now() + Duration::from_secs_f64(saved.clamp(1.0, 300.0));
        let wanted = match limit {
            CpuLimit::Baseline { millicpus } => Some(millicpus),
            CpuLimit::Full if self.is_limited && saved < FREE_AGAIN => return Ok(false),
            CpuLimit::Full => None,
        };
        if wanted.is_some() == self.is_limited {
            return Ok(false);
        }
        driver.limit_cpu(id, wanted).await?;
        self.is_limited = wanted.is_some();
        Ok(true)
    }
}

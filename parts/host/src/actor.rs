use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mayfly_host_api::{HostError, MachineReport};
use mayfly_host_store::{StoreError, Stored};
use mayfly_machine::{Effect, Event, Machine, MachineState, pending, step, wake_at};
use mayfly_runtime::{Backoff, Stop, report};
use mayfly_types::LaunchId;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::effects::{Acting, Outcome, perform, watch};
use crate::error::{journal, refused};
use crate::host::Shared;
use crate::registry::{Command, Mailbox};
use crate::shells::Shells;
use crate::{report as reports, runner_log};

/// Why an actor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The machine is new.
    Create,
    /// The daemon was started anew; guests may have gone on meanwhile.
    Restart,
    /// The server was: no guest can be there.
    Boot,
}

/// The one writer of a machine: decides, stores, acts, one event at a time.
pub(crate) struct Actor {
    shared: Arc<Shared>,
    mailbox: Mailbox,
    stored: Stored,
    origin: Origin,
    acting: Option<Acting>,
    watching: Option<(LaunchId, BoxFuture<'static, Event>)>,
    /// An effect that failed, how often, and when it is tried again.
    failed: Option<(Effect, u32, Instant)>,
}

const RETRY: Backoff = Backoff {
    first: Duration::from_millis(100),
    most: Duration::from_secs(15),
};

/// A guest that cannot be frozen this often is given back to its user, running.
const FREEZES_MAX: u32 = 5;

/// Wall time may jump: deadlines are looked at again at least this often.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long a call of the driver that is under way when the host stops may take to end.
const LAST_CALL: Duration = Duration::from_secs(5);

impl Actor {
    pub(crate) fn new(shared: Arc<Shared>, mailbox: Mailbox, origin: Origin) -> Self {
        let stored = (**mailbox.stored.borrow()).clone();
        Actor {
            shared,
            mailbox,
            stored,
            origin,
            acting: None,
            watching: None,
            failed: None,
        }
    }

    /// Until the machine is destroyed or the host stops.
    pub(crate) async fn run(mut self, stop: Stop) {
        if self.origin != Origin::Create {
            let looked = Box::pin(stop.run_until_cancelled(self.recover())).await;
            if looked.is_none() {
                return;
            }
            Shells::follow(&self.shared, self.machine()).await;
            self.shared.recovered_one();
        }
        while self.machine().state() != MachineState::Destroyed {
            self.plan();
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.farewell().await,
                outcome = next(&mut self.acting) => self.acted(outcome).await,
                command = self.mailbox.commands.recv() => match command {
                    Some(command) => self.answer(command).await,
                    None => return,
                },
                event = seen(&mut self.watching) => self.observed(event).await,
                () = tokio::time::sleep_until(wake) => self.observed(Event::Tick).await,
            }
        }
    }

    fn machine(&self) -> &Machine {
        &self.stored.machine
    }

    /// Looks whether the guest the journal speaks of is there. Goes on until the driver answers.
    async fn recover(&mut self) {
        if self.machine().phase.launch_id().is_none() {
            return;
        }
        let id = self.machine().identity.machine_id;
        let mut attempt = 0;
        let body = loop {
            match self.shared.deps.driver.observe(id).await {
                Ok(observed) => break crate::effects::body(observed),
                Err(error) => {
                    warn!(machine_id = %id, error = report(&error), "guest not looked at; trying again");
                    tokio::time::sleep(RETRY.pause(attempt)).await;
                    attempt += 1;
                }
            }
        };
        let is_gone = !matches!(body, mayfly_machine::Body::Exited { .. });
        let event = if self.origin == Origin::Boot && is_gone {
            Event::Rebooted
        } else {
            Event::Observed { body }
        };
        self.observed(event).await;
    }

    /// Starts what the phase wants and is not under way.
    fn plan(&mut self) {
        let now = self.shared.now();
        let wanted = pending(self.machine(), now);
        let act = wanted
            .iter()
            .find(|effect| !matches!(effect, Effect::Watch { .. }))
            .copied();
        if self
            .acting
            .as_ref()
            .is_some_and(|acting| Some(acting.effect) != act && acting.may_be_dropped())
        {
            debug!(machine_id = %self.machine().identity.machine_id, "dropping what is no longer wanted");
            self.acting = None;
        }
        if self.failed.is_some_and(|(effect, ..)| Some(effect) != act) {
            self.failed = None;
        }
        let waits = self.failed.is_some_and(|(_, _, at)| Instant::now() < at);
        if let Some(effect) = act
            && self.acting.is_none()
            && !waits
        {
            self.acting = Some(perform(&self.shared, self.machine(), effect));
        }
        let launch = wanted.iter().find_map(|effect| match effect {
            Effect::Watch { launch_id } => Some(*launch_id),
            _ => None,
        });
        if self.watching.as_ref().map(|(launch, _)| *launch) != launch {
            let id = self.machine().identity.machine_id;
            self.watching = launch.map(|launch| {
                let event = watch(self.shared.deps.driver.clone(), id, launch);
                (launch, event.boxed())
            });
        }
    }

    fn wake(&self) -> Instant {
        let now = self.shared.now();
        let by_phase = wake_at(self.machine(), now).map_or(SLEEP_MAX, |at| at.until(now));
        let wake = Instant::now() + by_phase.min(SLEEP_MAX);
        match self.failed {
            Some((_, _, at)) if self.acting.is_none() => wake.min(at),
            _ => wake,
        }
    }

    async fn acted(&mut self, outcome: Outcome) {
        let Some(acting) = self.acting.take() else {
            return;
        };
        let machine_id = self.machine().identity.machine_id;
        match outcome {
            Outcome::Event(event) => {
                self.failed = None;
                // Images of a version that was replaced meanwhile say nothing about the new one.
                let is_stale = matches!(event, Event::Prepared | Event::PrepareFailed { .. })
                    && acting.instance_id != self.machine().version.instance_id;
                if !is_stale {
                    self.observed(event).await;
                }
            }
            Outcome::Again { error, after } => {
                let attempt = match self.failed {
                    Some((effect, attempt, _)) if effect == acting.effect => attempt + 1,
                    _ => 0,
                };
                if let Effect::Freeze { launch_id } = acting.effect
                    && attempt + 1 >= FREEZES_MAX
                {
                    self.failed = None;
                    return self.observed(Event::FreezeFailed { launch_id }).await;
                }
                if let Some(error) = error {
                    warn!(%machine_id, effect = ?acting.effect, error, "trying again");
                }
                let pause = after.unwrap_or_else(|| RETRY.pause(attempt));
                self.failed = Some((acting.effect, attempt, Instant::now() + pause));
            }
        }
    }

    async fn answer(&mut self, command: Command) {
        let answer = self.requested(command.event).await;
        // The caller may have gone away.
        let _ = command.reply.send(answer);
    }

    async fn requested(&mut self, event: Event) -> Result<MachineReport, HostError> {
        let id = self.machine().identity.machine_id;
        let decision = step(self.machine(), event, self.shared.now()).map_err(refused)?;
        self.keep(decision)
            .await
            .map_err(|error| journal(id, error))?;
        Ok(self.shared.report(&self.stored))
    }

    /// Takes in what happened. It did happen, so it is stored whatever the journal says at first.
    async fn observed(&mut self, event: Event) {
        if let Event::Exited { .. } = &event {
            self.watching = None;
        }
        let mut attempt = 0;
        loop {
            let decided = step(self.machine(), event.clone(), self.shared.now());
            let Ok(decision) = decided else { return };
            match self.keep(decision).await {
                Ok(()) => return,
                Err(error) => {
                    let machine_id = self.machine().identity.machine_id;
                    error!(%machine_id, error = report(&error), "journal not written; trying again");
                    tokio::time::sleep(RETRY.pause(attempt)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Stores a decision, then lets the world know.
    async fn keep(&mut self, decision: mayfly_machine::Decision) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let now = shared.now();
        let lines = runner_log::lines(&decision.next, &decision.happenings);
        let before = self.machine().state();
        let Some(change) = reports::change(Some(self.machine()), decision, shared.host_id, now)
        else {
            return Ok(());
        };
        let next = change.next.clone();
        let id = next.identity.machine_id;
        match shared.store.store(self.stored.generation, change).await {
            Ok(seq) => {
                self.stored.generation += 1;
                self.stored.seq = seq.unwrap_or(self.stored.seq);
                self.stored.machine = next;
            }
            Err(error) => {
                // The disk may have kept what it did not confirm.
                match shared.store.machine(id).await {
                    Ok(Some(found)) if found.machine == next => self.stored = found,
                    Ok(Some(found)) => {
                        self.stored = found;
                        return Err(error);
                    }
                    _ => return Err(error),
                }
            }
        }
        // At once: whoever reads the journal's reports may ask for what the new state allows.
        self.mailbox
            .stored
            .send_replace(Arc::new(self.stored.clone()));
        let after = self.machine().state();
        if after != before {
            info!(machine_id = %id, state = %after, "machine changed");
            Box::pin(Shells::follow(&shared, self.machine())).await;
        }
        shared.registry.changed(self.stored.seq);
        if after != MachineState::Destroyed {
            runner_log::write(&shared.config, id, now, lines).await;
        }
        Ok(())
    }

    /// A call of the driver that is under way is heard out, so that its result is on record.
    async fn farewell(&mut self) {
        match &self.acting {
            Some(acting) if !acting.may_be_dropped() => {}
            _ => return,
        }
        let heard = tokio::time::timeout(LAST_CALL, next(&mut self.acting)).await;
        if let Ok(Outcome::Event(event)) = heard {
            self.observed(event).await;
        }
    }
}

async fn next(acting: &mut Option<Acting>) -> Outcome {
    match acting {
        Some(acting) => (&mut acting.future).await,
        None => std::future::pending().await,
    }
}

async fn seen(watching: &mut Option<(LaunchId, BoxFuture<'static, Event>)>) -> Event {
    match watching {
        Some((_, event)) => {
            let event = event.await;
            *watching = None;
            event
        }
        None => std::future::pending().await,
    }
}

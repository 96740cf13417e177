use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use mayfly_routing::{Candidate, Choice, Standing, Waiting, choose};
use tokio::sync::{mpsc, oneshot};

use super::admission::Admission;
use super::app::Service;
use super::backend::{Backend, Roused};
use super::far::Far;
use super::refusal::Refusal;
use super::seat::{Member, Named};
use super::wish::Wish;

/// Requests that may wait for one service; more are refused at once.
const WAITING_MAX: usize = 10_000;
/// How often a choice is made anew because another core was faster, before the request is queued.
const TRIES: usize = 32;

/// So that no two threads draw the same numbers.
static THREADS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static TURN: Cell<u32> = Cell::new(THREADS.fetch_add(0x632b_e5ab, Ordering::Relaxed));
}

/// Where requests that found no machine wait, first come first served. It stays the same while the service changes.
#[derive(Debug)]
pub(crate) struct Gate {
    waiting: AtomicU32,
    /// Turned away for want of room since somebody asked last.
    refused: AtomicU32,
    pub(super) far: Far,
    seed: u32,
    queue: Mutex<Queue>,
    /// The service as it is now.
    newest: Mutex<Weak<Service>>,
    wakes: mpsc::UnboundedSender<Arc<Backend>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    /// Those that not every machine will do for.
    particular: usize,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    wish: Wish,
    reply: oneshot::Sender<Verdict>,
    on: Waiting,
}

/// What a waiting request is told.
#[derive(Debug)]
pub(super) enum Verdict {
    Admitted(Admission),
    Refused(Refusal),
    /// The service is another one now: look it up again.
    Again,
}

/// What one look at the machines comes to.
pub(super) enum Attempt {
    Admitted(Admission),
    Refused(Refusal),
    Wait(Waiting),
}

/// A place in the queue, given up when dropped.
pub(super) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
    pub(super) verdict: oneshot::Receiver<Verdict>,
}

impl Gate {
    pub(super) fn new(seed: u32, wakes: mpsc::UnboundedSender<Arc<Backend>>) -> Gate {
        Gate {
            waiting: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            far: Far::default(),
            seed,
            queue: Mutex::default(),
            newest: Mutex::default(),
            wakes,
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were turned away for want of room since the last call.
    pub(super) fn take_refused(&self) -> u32 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// From now on the gate leads to `service`.
    pub(super) fn lead_to(&self, service: &Arc<Service>) {
        *self.newest() = Arc::downgrade(service);
    }

    /// The gate leads nowhere any more: whoever waits looks for another.
    pub(super) fn close(&self) {
        *self.newest() = Weak::new();
        if !self.is_idle() {
            self.pump();
        }
    }

    /// One look at the machines for one request; wakes what the rules say.
    pub(super) fn attempt(&self, service: &Arc<Service>, wish: &Wish, waiting: u32) -> Attempt {
        if let Some(preferred) = wish.prefer_instance {
            let place = service.place_of(preferred).filter(|place| {
                let member = &service.members[*place];
                // One that would first have to end: another is faster.
                wish.distance(member).is_some() && member.standing() != Standing::Leaving
            });
            match place.map(|place| self.attempt_one(service, place)) {
                Some(Attempt::Admitted(admission)) => return Attempt::Admitted(admission),
                Some(Attempt::Wait(Waiting::Start)) => return Attempt::Wait(Waiting::Start),
                _ => {}
            }
        }
        let attempt = match wish.force_instance {
            Some(forced) => {
                let place = service
                    .place_of(forced)
                    .filter(|place| wish.distance(&service.members[*place]).is_some());
                match place {
                    Some(place) => self.attempt_one(service, place),
                    None => Attempt::Refused(Refusal::of(service, wish, None)),
                }
            }
            None => self.attempt_any(service, wish, waiting),
        };
        match (attempt, wish.prefer_instance) {
            (Attempt::Admitted(mut admission), Some(preferred)) => {
                admission.preferred_unavailable =
                    (admission.machine != preferred).then_some(preferred);
                Attempt::Admitted(admission)
            }
            (attempt, _) => attempt,
        }
    }

    fn attempt_any(&self, service: &Arc<Service>, wish: &Wish, waiting: u32) -> Attempt {
        for _ in 0..TRIES {
            let choice = choose(
                &service.members,
                |member| wish.distance(member),
                waiting,
                self.random(),
            );
            let to = match choice {
                Choice::Send { to, wake } => {
                    if let Some(wake) = wake {
                        self.wake(&service.members[wake]);
                    }
                    Some(to)
                }
                Choice::Thaw { to } => self.wake(&service.members[to]).then_some(to),
                Choice::Wait { wake, on } => {
                    if wake.is_none_or(|wake| self.wake(&service.members[wake])) {
                        return Attempt::Wait(on);
                    }
                    None
                }
                Choice::Refuse(out) => {
                    return Attempt::Refused(Refusal::of(service, wish, out));
                }
            };
            // Otherwise another core was faster: look again.
            if let Some(admission) = to.and_then(|to| admit(service, to)) {
                return Attempt::Admitted(admission);
            }
        }
        Attempt::Wait(Waiting::Room)
    }

    fn attempt_one(&self, service: &Arc<Service>, place: usize) -> Attempt {
        let member = &service.members[place];
        for _ in 0..TRIES {
            match choose(&[Named(member)], |_| Some(0), 1, 0) {
                Choice::Send { .. } => {}
                Choice::Thaw { .. } => {
                    if !self.wake(member) {
                        continue;
                    }
                }
                Choice::Wait { wake, on } => {
                    if wake.is_none() || self.wake(member) {
                        return Attempt::Wait(on);
                    }
                    continue;
                }
                Choice::Refuse(out) => {
                    let only = Wish {
                        force_instance: Some(member.seat.backend.machine),
                        ..Wish::default()
                    };
                    return Attempt::Refused(Refusal::of(service, &only, out));
                }
            }
            if let Some(admission) = admit(service, place) {
                return Attempt::Admitted(admission);
            }
        }
        Attempt::Wait(Waiting::Room)
    }

    /// Joins the queue; `Err` if it is full.
    pub(super) fn enqueue(self: &Arc<Gate>, wish: Wish) -> Result<Ticket, ()> {
        let (reply, verdict) = oneshot::channel();
        let mut queue = self.queue();
        if queue.waiters.len() >= WAITING_MAX {
            return Err(());
        }
        let number = queue.next_ticket;
        queue.next_ticket += 1;
        queue.particular += usize::from(!wish.is_plain());
        queue.waiters.push_back(Waiter {
            ticket: number,
            wish,
            reply,
            on: Waiting::Room,
        });
        self.count(&queue);
        drop(queue);
        self.pump();
        Ok(Ticket {
            gate: Arc::clone(self),
            number,
            verdict,
        })
    }

    /// Gives those that wait what there is, in their order. Called whenever something may have become free.
    pub(super) fn pump(&self) {
        let newest = self.newest().upgrade();
        // Places that nobody took any more: given back when the queue is unlocked again.
        let mut untaken = Vec::new();
        let mut queue = self.queue();
        let mut index = 0;
        let mut is_exhausted = false;
        let mut particular_left = queue.particular;
        while index < queue.waiters.len() && !(is_exhausted && particular_left == 0) {
            let waiting = u32::try_from(queue.waiters.len()).unwrap_or(u32::MAX);
            let waiter = &mut queue.waiters[index];
            let is_plain = waiter.wish.is_plain();
            particular_left -= usize::from(!is_plain);
            if is_exhausted && is_plain && !waiter.reply.is_closed() {
                index += 1;
                continue;
            }
            let verdict = match &newest {
                _ if waiter.reply.is_closed() => Verdict::Again,
                None => Verdict::Again,
                Some(service) => match self.attempt(service, &waiter.wish, waiting) {
                    Attempt::Admitted(admission) => Verdict::Admitted(admission),
                    Attempt::Refused(refusal) => Verdict::Refused(refusal),
                    Attempt::Wait(on) => {
                        waiter.on = on;
                        // What did not suffice for somebody who takes any machine suffices for nobody like that.
                        is_exhausted |= is_plain;
                        index += 1;
                        continue;
                    }
                },
            };
            let waiter = queue.remove(index);
            if let Err(verdict) = waiter.reply.send(verdict) {
                untaken.push(verdict);
            }
        }
        self.count(&queue);
        drop(queue);
        drop(untaken);
    }

    /// Makes sure that the machine is awake or will be; false if that is not possible now.
    fn wake(&self, member: &Member) -> bool {
        match member.seat.backend.rouse() {
            Roused::Already => true,
            // The other end is gone only when the edge ends.
            Roused::Ask => self.wakes.send(Arc::clone(&member.seat.backend)).is_ok(),
            Roused::Refused => false,
        }
    }

    fn random(&self) -> u32 {
        // Of the thread alone: a word that all cores write would cost each of them more than the choice.
        let turn = TURN.get();
        TURN.set(turn.wrapping_add(0x9e37_79b9));
        let turn = turn ^ self.seed;
        let mixed = (turn ^ (turn >> 16)).wrapping_mul(0x85eb_ca6b);
        (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35)
    }

    fn count(&self, queue: &Queue) {
        let waiting = u32::try_from(queue.waiters.len()).unwrap_or(u32::MAX);
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    fn newest(&self) -> MutexGuard<'_, Weak<Service>> {
        self.newest.lock().expect("no holder of this lock panics")
    }
}

impl Queue {
    fn remove(&mut self, index: usize) -> Waiter {
        let waiter = self
            .waiters
            .remove(index)
            .expect("the index was checked under the same lock");
        self.particular -= usize::from(!waiter.wish.is_plain());
        waiter
    }
}

impl Ticket {
    /// What it waits for.
    pub(super) fn waits_on(&self) -> Waiting {
        let queue = self.gate.queue();
        queue
            .waiters
            .iter()
            .find(|waiter| waiter.ticket == self.number)
            .map_or(Waiting::Start, |waiter| waiter.on)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.verdict.close();
        let mut queue = self.gate.queue();
        // Tickets are given in order and the queue keeps it.
        let place = queue
            .waiters
            .binary_search_by_key(&self.number, |waiter| waiter.ticket);
        if let Ok(index) = place {
            queue.remove(index);
            self.gate.count(&queue);
        }
    }
}

fn admit(service: &Arc<Service>, place: usize) -> Option<Admission> {
    let member = &service.members[place];
    member
        .seat
        .acquire(member.hard)
        .then(|| Admission::new(Arc::clone(service), place))
}

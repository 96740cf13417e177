//! Where a request goes: <https://fly.io/docs/reference/load-balancing/> and
//! <https://fly.io/docs/reference/fly-proxy-autostop-autostart/>.

/// A machine that serves what the request is for.
pub trait Candidate {
    fn standing(&self) -> Standing;
    /// What it is busy with, in the unit of its limits.
    fn load(&self) -> u32;
    /// At it others are preferred and woken.
    fn soft(&self) -> u32;
    /// At it nothing more is sent; `u32::MAX` where there is no limit.
    fn hard(&self) -> u32;
}

/// What a machine can do for a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Takes requests.
    Ready,
    /// Takes requests, but it is not certain that it answers: only when no certain one is as near.
    Doubtful,
    /// Does not run and may be woken.
    Asleep(Asleep),
    /// Will be ready without our doing more.
    Coming,
    /// Is ending: it will be asleep soon.
    Leaving,
    /// Neither takes requests nor may be woken.
    Out(Out),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asleep {
    /// Accepts connections at once, since its kernel does, and answers as soon as it has thawed.
    Suspended,
    Stopped,
}

/// Why a machine is out of the question. Ordered by how much it tells about a request that found none: most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out {
    /// A start failed a moment ago, and the next try is not due.
    StartFailed,
    /// A check of the service is critical.
    Unhealthy,
    /// Does not run, and the service is not to be started by requests.
    KeptAsleep,
    /// In a state that neither serves nor can be woken from.
    Unfit,
    Cordoned,
}

/// What is done with a request. Numbers are places in the slice of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Give it to `to`, and wake another for those that come after it.
    Send { to: usize, wake: Option<usize> },
    /// Wake this suspended machine and give it the request at once.
    Thaw { to: usize },
    /// Keep it until something changes.
    Wait { wake: Option<usize>, on: Waiting },
    /// Nothing that can be waited for would help; `None` if there is no candidate at all.
    Refuse(Option<Out>),
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// All that run are at their hard limit.
    Room,
    /// A machine that starts.
    Start,
}

/// Decides about one request.
///
/// `distance` says how far a candidate is, `None` if the request must not go there. `waiting` is how many requests have
/// no machine yet, this one included; it bounds how many machines are woken: what runs and what is coming must be too
/// little, at their soft limits, for what is there. `random` breaks ties.
///
/// The nearest region that can take the request gets it, whatever its soft limits; in it, those below the soft limit
/// come first, then the least loaded. The nearest sleeper is woken, a suspended one before a stopped one.
pub fn choose<C: Candidate>(
    candidates: &[C],
    distance: impl Fn(&C) -> Option<u16>,
    waiting: u32,
    random: u32,
) -> Choice {
    let best = best(candidates, &distance, random);
    if let Some(best) = &best
        && !best.key.crowded
    {
        return Choice::Send {
            to: best.index,
            wake: None,
        };
    }
    let reach = best.as_ref().map(|best| best.key.distance);
    let survey = Survey::of(candidates, &distance, reach, waiting);
    match best {
        Some(best) => survey.beside(&best),
        None => survey.alone(),
    }
}

/// Smaller is better; the order of the fields is the order of what matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    distance: u16,
    doubtful: bool,
    /// At or above the soft limit.
    crowded: bool,
    load: u32,
}

struct Best {
    index: usize,
    key: Key,
}

fn best<C: Candidate>(
    candidates: &[C],
    distance: &impl Fn(&C) -> Option<u16>,
    random: u32,
) -> Option<Best> {
    let mut best: Option<Best> = None;
    let mut equal: u32 = 0;
    let mut chance = random;
    for (index, candidate) in candidates.iter().enumerate() {
        let doubtful = match candidate.standing() {
            Standing::Ready => false,
            Standing::Doubtful => true,
            _ => continue,
        };
        let Some(distance) = distance(candidate) else {
            continue;
        };
        let load = candidate.load();
        if load >= candidate.hard() {
            continue;
        }
        let key = Key {
            distance,
            doubtful,
            crowded: load >= candidate.soft(),
            load,
        };
        match &best {
            Some(so_far) if so_far.key < key => continue,
            // Each of n equals is kept with chance 1/n.
            Some(so_far) if so_far.key == key => {
                equal += 1;
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if (u64::from(chance) * u64::from(equal)) >> 32 != 0 {
                    continue;
                }
            }
            _ => equal = 1,
        }
        best = Some(Best { index, key });
    }
    best
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sleeper {
    distance: u16,
    kind: Asleep,
    index: usize,
}

/// Work and room, in units of load.
#[derive(Default)]
struct Balance {
    work: u64,
    room: u64,
}

impl Balance {
    fn is_short(&self) -> bool {
        self.work > self.room
    }
}

/// What there is besides the best one.
struct Survey {
    all: Balance,
    /// Of those not farther than the best one.
    near: Balance,
    nearest: Option<Sleeper>,
    has_uncrowded: bool,
    is_full: bool,
    is_coming: bool,
    is_leaving: bool,
    out: Option<Out>,
}

impl Survey {
    fn of<C: Candidate>(
        candidates: &[C],
        distance: &impl Fn(&C) -> Option<u16>,
        reach: Option<u16>,
        waiting: u32,
    ) -> Survey {
        let mut survey = Survey {
            all: Balance::default(),
            near: Balance::default(),
            nearest: None,
            has_uncrowded: false,
            is_full: false,
            is_coming: false,
            is_leaving: false,
            out: None,
        };
        survey.all.work = u64::from(waiting);
        survey.near.work = u64::from(waiting);
        for (index, candidate) in candidates.iter().enumerate() {
            let Some(distance) = distance(candidate) else {
                continue;
            };
            let (load, soft) = (candidate.load(), candidate.soft());
            let mut room = 0;
            match candidate.standing() {
                Standing::Ready | Standing::Doubtful => {
                    room = soft;
                    survey.has_uncrowded |= load < soft;
                    survey.is_full = true;
                }
                Standing::Coming => {
                    room = soft;
                    survey.is_coming = true;
                }
                Standing::Leaving => survey.is_leaving = true,
                Standing::Asleep(kind) => {
                    let sleeper = Sleeper {
                        distance,
                        kind,
                        index,
                    };
                    let nearest = survey.nearest.get_or_insert(sleeper);
                    *nearest = (*nearest).min(sleeper);
                }
                Standing::Out(why) => {
                    survey.out = Some(survey.out.map_or(why, |other| other.min(why)));
                }
            }
            survey.all.work += u64::from(load);
            survey.all.room += u64::from(room);
            if reach.is_some_and(|reach| distance <= reach) {
                survey.near.work += u64::from(load);
                survey.near.room += u64::from(room);
            }
        }
        survey
    }

    /// With a machine that takes the request above its soft limit.
    fn beside(&self, best: &Best) -> Choice {
        let to = best.index;
        match self.nearest {
            Some(sleeper) if sleeper.distance <= best.key.distance && self.near.is_short() => {
                match sleeper.kind {
                    Asleep::Suspended => Choice::Thaw { to: sleeper.index },
                    Asleep::Stopped => Choice::Send {
                        to,
                        wake: Some(sleeper.index),
                    },
                }
            }
            Some(sleeper) if !self.has_uncrowded && self.all.is_short() => Choice::Send {
                to,
                wake: Some(sleeper.index),
            },
            _ => Choice::Send { to, wake: None },
        }
    }

    /// With no machine that takes the request.
    fn alone(&self) -> Choice {
        let on = if self.is_full {
            Waiting::Room
        } else {
            Waiting::Start
        };
        match self.nearest {
            Some(sleeper) if self.all.is_short() => match sleeper.kind {
                Asleep::Suspended => Choice::Thaw { to: sleeper.index },
                Asleep::Stopped => Choice::Wait {
                    wake: Some(sleeper.index),
                    on,
                },
            },
            _ if self.is_full || self.is_coming || self.is_leaving => {
                Choice::Wait { wake: None, on }
            }
            _ => Choice::Refuse(self.out),
        }
    }
}

#[cfg(test)]
mod tests;

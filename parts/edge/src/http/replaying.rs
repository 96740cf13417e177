//! Follows the replays that apps order: <https://fly.io/docs/networking/dynamic-request-routing/>.

use std::borrow::Cow;
use std::time::Instant;

use mayfly_routing::{
    CacheOrder, Fallback, InvalidReplay, REPLAYS_MAX, Replay, ReplayOrigin, ReplayRefusal,
    replay_failed, replay_src,
};

use mayfly_types::MachineId;

use super::delivery::{Delivered, Delivery, Target, Undelivered};
use super::exchange::{AnswerSink, RequestBody};
use super::outbound::Extra;
use super::pipeline::Ended;
use super::problem::Problem;
use super::site::{Site, party, replay_sources};
use super::wanted::Wanted;
use crate::fleet::Table;
use crate::replay::{CacheStatus, Lookup, Remembered, Request, order};

/// A replay that is being carried out.
struct Hop {
    /// Who ordered it, and where that one is reached.
    from: Site,
    by: ReplayOrigin,
    replay: Replay,
    began: Instant,
}

impl<B: RequestBody, K: AnswerSink> Delivery<'_, '_, B, K> {
    /// Brings the request to `entry`, then to wherever the machines there send it.
    pub(crate) async fn follow(
        &mut self,
        door_port: u16,
        entry: &Site,
        asked: &Wanted,
    ) -> Result<Ended, Problem> {
        // What is remembered belongs to the app that the client asked.
        let rules = entry.options().replay_cache.as_slice();
        let head = self.parts.head;
        let request = || Request::of(head);
        // Where it goes instead, and with which wishes; most requests are not replayed.
        let (mut site, mut wanted) = (Cow::Borrowed(entry), Cow::Borrowed(asked));
        let mut extra = Extra::default();
        let (mut status, mut remembered) = (CacheStatus::Miss, None::<Box<Remembered>>);
        let bound = asked.force_instance.is_some() || asked.force_regions.is_some();
        if !bound && !self.core.replays.is_empty() {
            let now = tokio::time::Instant::now();
            match self
                .core
                .replays
                .look_up(entry.app.app_id, rules, request(), now)
            {
                Lookup::Miss => {}
                Lookup::Bypass => status = CacheStatus::Bypass,
                Lookup::Hit(found) => {
                    match destination(&self.core.table(), entry, &found.replay, door_port) {
                        Ok(to) => {
                            wanted = Cow::Owned(wish(&found.replay, found.source));
                            extra = marked(CacheStatus::Hit);
                            site = Cow::Owned(to);
                            remembered = Some(found);
                        }
                        Err(_) => self.core.replays.forget(entry.app.app_id, &found),
                    }
                }
            }
        }
        let (mut hop, mut replays, mut may_replay) = (None::<Box<Hop>>, 0, true);
        loop {
            let target = Target {
                site: &site,
                wanted: &wanted,
                extra: &extra,
                may_replay,
                patience: hop.as_ref().and_then(|hop| hop.replay.timeout),
            };
            match self.deliver(&target).await {
                Ok(Delivered::Ended(ended)) => return Ok(ended),
                Ok(Delivered::Order {
                    body,
                    machine,
                    region,
                }) => {
                    let refuse = |refusal: &ReplayRefusal| Problem::replay(refusal, machine);
                    let replay = order(&self.scratch.answer, &body)
                        .and_then(|order| order.ok_or(InvalidReplay::NoTarget))
                        .map_err(|invalid| refuse(&invalid.into()))?;
                    if replays == REPLAYS_MAX {
                        return Err(refuse(&ReplayRefusal::TooOften));
                    }
                    if !self.kept.is_whole() {
                        return Err(refuse(&ReplayRefusal::TooLarge));
                    }
                    replays += 1;
                    remembered = None;
                    self.core.counters.replays.add();
                    let by = ReplayOrigin {
                        machine,
                        region,
                        asked_at_us: self.core.clock.now().as_millis().saturating_mul(1000),
                    };
                    let to = destination(&self.core.table(), &site, &replay, door_port)
                        .map_err(|refusal| refuse(&refusal))?;
                    let forgets = matches!(replay.cache, Ok(Some(CacheOrder::Invalidate)));
                    if forgets || site.app.app_id == entry.app.app_id {
                        let now = tokio::time::Instant::now();
                        let learned = self.core.replays.learn(
                            entry.app.app_id,
                            rules,
                            request(),
                            &replay,
                            machine,
                            now,
                        );
                        if let Err(invalid) = learned {
                            tracing::info!(app = %site.app.name, machine_id = %machine, error = %invalid, "replay is not remembered");
                        }
                    }
                    extra = changes(&replay, &by, status);
                    wanted = Cow::Owned(wish(&replay, machine));
                    let from = std::mem::replace(&mut site, Cow::Owned(to));
                    hop = Some(Box::new(Hop {
                        from: from.into_owned(),
                        by,
                        replay,
                        began: Instant::now(),
                    }));
                }
                // The app knows better than what was remembered.
                Err(_) if remembered.is_some() => {
                    if let Some(found) = remembered.take() {
                        self.core.replays.forget(entry.app.app_id, &found);
                    }
                    (site, wanted) = (Cow::Borrowed(entry), Cow::Borrowed(asked));
                    extra = Extra::default();
                }
                Err(Undelivered { problem, reason }) => {
                    let Some(failed) = hop.take() else {
                        return Err(problem);
                    };
                    let Hop {
                        from,
                        by,
                        replay,
                        began,
                    } = *failed;
                    let Some(fallback) = replay.fallback else {
                        return Err(problem);
                    };
                    let said = replay_failed(&by, &replay, &site.app.name, reason, began.elapsed());
                    extra = Extra {
                        set: vec![("fly-replay-failed".to_owned(), said)],
                        ..Extra::default()
                    };
                    let itself = Some(by.machine.to_string());
                    wanted = Cow::Owned(match fallback {
                        Fallback::ForceSelf => Wanted {
                            force_instance: itself,
                            ..Wanted::default()
                        },
                        Fallback::PreferSelf => Wanted {
                            prefer_instance: itself,
                            ..Wanted::default()
                        },
                    });
                    site = Cow::Owned(from);
                    may_replay = false;
                }
            }
        }
    }
}

/// The service a replay goes to: the app's own at the same port, or another app's if that one permits it.
fn destination(
    table: &Table,
    from: &Site,
    replay: &Replay,
    door_port: u16,
) -> Result<Site, ReplayRefusal> {
    let Some(name) = replay.app.as_ref().filter(|name| **name != from.app.name) else {
        return Ok(from.clone());
    };
    let app = table
        .by_name(name.as_str())
        .ok_or_else(|| ReplayRefusal::NoSuchApp(name.to_string()))?;
    if !party(&from.app).may_replay_to(&party(app), &replay_sources(app)) {
        return Err(ReplayRefusal::NotPermitted(name.to_string()));
    }
    Site::for_replay(app, door_port).ok_or_else(|| ReplayRefusal::NoSuchApp(name.to_string()))
}

fn wish(replay: &Replay, by: MachineId) -> Wanted {
    Wanted {
        force_regions: replay.regions.clone(),
        force_instance: replay.instance.as_ref().map(ToString::to_string),
        prefer_instance: replay.prefer_instance.as_ref().map(ToString::to_string),
        exclude: replay.elsewhere.then_some(by),
        ..Wanted::default()
    }
}

fn marked(status: CacheStatus) -> Extra {
    Extra {
        set: vec![(
            "fly-replay-cache-status".to_owned(),
            status.as_str().to_owned(),
        )],
        ..Extra::default()
    }
}

/// What the target sees of the replay.
fn changes(replay: &Replay, by: &ReplayOrigin, status: CacheStatus) -> Extra {
    let mut set = replay.transform.set_headers().to_vec();
    set.push(("fly-replay-src".to_owned(), replay_src(by, replay)));
    set.extend(marked(status).set);
    Extra {
        target: replay.transform.path().map(ToOwned::to_owned),
        set,
        delete: replay.transform.delete_headers().to_vec(),
    }
}

//! Where new machines go: on which host of a region, and how many in which region.

mod reservation;

use mayfly_types::{HostId, Region};

pub(crate) use reservation::{Reservation, Reservations};

/// What is known of one host of the wanted region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) host: HostId,
    /// Whether it was heard of a short while ago.
    pub(crate) answers: bool,
    /// Living machines of the same app.
    pub(crate) of_app: usize,
    /// Living machines.
    pub(crate) machines: usize,
    /// Memory nobody was promised, in MiB; negative when more was promised than there is.
    pub(crate) free_mib: i64,
}

/// Where a machine goes, and why there; the reason is kept with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) host: HostId,
    pub(crate) reason: String,
}

impl Placed {
    /// Where there is nothing to choose, nothing needs to be known.
    pub(crate) fn only(host: HostId) -> Self {
        Self {
            host,
            reason: "the only host of the region".to_owned(),
        }
    }
}

/// Chooses a host: one that answers, with the fewest machines of the app, then the most free memory, then the fewest
/// machines. `None` if there is no candidate.
pub(crate) fn place(candidates: &[Candidate]) -> Option<Placed> {
    if let [only] = candidates {
        return Some(Placed::only(only.host));
    }
    let best = candidates.iter().min_by_key(|host| {
        (
            !host.answers,
            host.of_app,
            -host.free_mib,
            host.machines,
            host.host,
        )
    })?;
    let others = || candidates.iter().filter(|host| host.host != best.host);
    let reason = if best.answers && others().all(|host| !host.answers) {
        "the only host of the region that answers".to_owned()
    } else if others().all(|host| host.of_app > best.of_app) {
        format!("fewest machines of the app ({})", best.of_app)
    } else if others().all(|host| host.of_app > best.of_app || host.free_mib < best.free_mib) {
        format!("most free memory ({} MiB)", best.free_mib)
    } else if others().all(|host| host.of_app > best.of_app || host.machines > best.machines) {
        format!("fewest machines ({})", best.machines)
    } else {
        "as good as the others of the region".to_owned()
    };
    Some(Placed {
        host: best.host,
        reason,
    })
}

/// What a region has room for, of machines of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) region: Region,
    /// How many fit into memory that nobody was promised.
    pub(crate) fits: usize,
    /// Whether one fits at all. Hosts promise more than they have, so this alone forbids a machine.
    pub(crate) possible: bool,
}

/// How several machines are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Evenly, the first regions getting one more.
    Evenly,
    /// The first region that has room, then the next.
    InOrder,
}

/// How many of `count` machines go to which region; regions that get none are left out, and all of them are if the
/// machines fit nowhere. A `count` of 0 asks how many would fit in each.
pub(crate) fn share_out(rooms: &[Room], count: usize, spread: Spread) -> Vec<(Region, usize)> {
    let mut shares: Vec<(&Room, usize)> = rooms
        .iter()
        .filter(|room| room.possible)
        .map(|room| (room, 0))
        .collect();
    let mut left = count;
    if count == 0 {
        for (room, share) in &mut shares {
            *share = room.fits.max(1);
        }
    }
    // First what fits, then what is promised beyond what there is.
    for beyond in [false, true] {
        let open = |(room, share): &(&Room, usize)| beyond || *share < room.fits;
        while left > 0 {
            let next = match spread {
                Spread::InOrder => shares.iter_mut().find(|share| open(share)),
                Spread::Evenly => shares
                    .iter_mut()
                    .filter(|share| open(share))
                    .min_by_key(|(_, share)| *share),
            };
            let Some((_, share)) = next else { break };
            *share += 1;
            left -= 1;
        }
    }
    let given = shares.into_iter().filter(|(_, share)| *share > 0);
    given
        .map(|(room, share)| (room.region.clone(), share))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_shared_out_where_they_fit() {
        use Spread::{Evenly, InOrder};
        let room = |region: &str, fits| Room {
            region: region.parse().unwrap(),
            fits,
            possible: true,
        };
        let none = Room {
            possible: false,
            ..room("nrt", 0)
        };
        let rooms = [none.clone(), room("iad", 3), room("fra", 1)];
        for (count, spread, expected) in [
            (1, Evenly, vec![("iad", 1)]),
            (2, Evenly, vec![("iad", 1), ("fra", 1)]),
            (4, Evenly, vec![("iad", 3), ("fra", 1)]),
            // More than fits.
            (6, Evenly, vec![("iad", 3), ("fra", 3)]),
            (3, InOrder, vec![("iad", 3)]),
            (4, InOrder, vec![("iad", 3), ("fra", 1)]),
            (6, InOrder, vec![("iad", 5), ("fra", 1)]),
            (0, InOrder, vec![("iad", 3), ("fra", 1)]),
        ] {
            let shared = share_out(&rooms, count, spread);
            let shown: Vec<(&str, usize)> = shared
                .iter()
                .map(|(region, share)| (region.as_str(), *share))
                .collect();
            assert_eq!(shown, expected, "{count} {spread:?}");
        }
        assert_eq!(share_out(&[none], 2, Evenly), []);
        assert_eq!(share_out(&[room("iad", 0)], 0, Evenly).len(), 1);
    }

    fn host(number: u8, of_app: usize, machines: usize, free_mib: i64) -> Candidate {
        Candidate {
            host: HostId::from_random([number; 8]),
            answers: true,
            of_app,
            machines,
            free_mib,
        }
    }

    #[test]
    fn the_emptiest_host_that_answers_is_taken() {
        let silent = Candidate {
            answers: false,
            ..host(0x99, 0, 0, 9000)
        };
        for (candidates, chosen, reason) in [
            (
                vec![host(0x11, 3, 9, -5)],
                0x11,
                "the only host of the region",
            ),
            (vec![silent], 0x99, "the only host of the region"),
            (
                vec![silent, host(0x11, 1, 9, -5)],
                0x11,
                "the only host of the region that answers",
            ),
            (
                vec![host(0x11, 1, 1, 900), host(0x22, 0, 9, 100)],
                0x22,
                "fewest machines of the app (0)",
            ),
            (
                vec![
                    host(0x11, 1, 1, 100),
                    host(0x22, 1, 9, 900),
                    host(0x33, 2, 0, 950),
                ],
                0x22,
                "most free memory (900 MiB)",
            ),
            (
                vec![host(0x11, 1, 7, 100), host(0x22, 1, 3, 100)],
                0x22,
                "fewest machines (3)",
            ),
            (
                vec![host(0x22, 0, 0, 100), host(0x11, 0, 0, 100)],
                0x11,
                "as good as the others of the region",
            ),
        ] {
            let placed = place(&candidates).unwrap();
            assert_eq!(
                placed.host,
                HostId::from_random([chosen; 8]),
                "{candidates:?}"
            );
            assert_eq!(placed.reason, reason, "{candidates:?}");
        }
        assert_eq!(place(&[]), None);
    }
}

//! On which host of a region a new machine goes.

use mayfly_types::HostId;

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

#[cfg(test)]
mod tests {
    use super::*;

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

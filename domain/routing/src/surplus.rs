//! Which machine may rest: <https://fly.io/docs/reference/fly-proxy-autostop-autostart/>.

/// How a machine is put to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resting {
    Stop,
    Suspend,
}

/// A running machine of one group in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The most it was busy with since the last look, over all its services.
    pub load: u32,
    /// At or above the soft limit of one of its services.
    pub over_soft: bool,
    /// What all its services agree on; `None` if one of them wants it to run.
    pub resting: Option<Resting>,
    /// Started too short a time ago to be judged.
    pub is_fresh: bool,
}

/// The one machine of a region that has nothing to do there, if any: `machines` are those that run, `floor` how many of
/// them must stay.
///
/// Of several, one rests if more than one is left that is below its soft limit; a single one only without any load.
pub fn surplus(machines: &[Running], floor: u32) -> Option<(usize, Resting)> {
    let running = machines.len();
    if u32::try_from(running).unwrap_or(u32::MAX) <= floor {
        return None;
    }
    let over = machines.iter().filter(|machine| machine.over_soft).count();
    let has_excess = match machines {
        [] => false,
        [single] => single.load == 0,
        _ => running > over + 1,
    };
    if !has_excess {
        return None;
    }
    machines
        .iter()
        .enumerate()
        .filter(|(_, machine)| !machine.is_fresh && !machine.over_soft)
        .filter_map(|(index, machine)| Some((machine.load, index, machine.resting?)))
        .min_by_key(|(load, index, _)| (*load, *index))
        .map(|(_, index, resting)| (index, resting))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine(load: u32, soft: u32) -> Running {
        Running {
            load,
            over_soft: load >= soft,
            resting: Some(Resting::Stop),
            is_fresh: false,
        }
    }

    #[test]
    fn the_documented_rule() {
        // Loads, soft limit, floor, which one rests.
        for (loads, soft, floor, rests) in [
            (&[][..], 20, 0, None),
            (&[0], 20, 0, Some(0)),
            (&[1], 20, 0, None),
            (&[0], 20, 1, None),
            (&[0, 0], 20, 0, Some(0)),
            (&[0, 0], 20, 1, Some(0)),
            (&[0, 0], 20, 2, None),
            (&[3, 1], 20, 0, Some(1)),
            (&[25, 1], 20, 0, None),
            (&[25, 1, 0], 20, 0, Some(2)),
            (&[25, 25, 0], 20, 0, None),
            (&[20, 0], 20, 0, None),
        ] {
            let machines: Vec<Running> = loads.iter().map(|load| machine(*load, soft)).collect();
            let found = surplus(&machines, floor).map(|(index, _)| index);
            assert_eq!(found, rests, "{loads:?} soft {soft} floor {floor}");
        }
    }

    #[test]
    fn a_machine_with_a_service_that_stays_and_a_fresh_one_run_on() {
        let stays = Running {
            resting: None,
            ..machine(0, 20)
        };
        let fresh = Running {
            is_fresh: true,
            ..machine(0, 20)
        };
        assert_eq!(surplus(&[stays], 0), None);
        assert_eq!(surplus(&[fresh], 0), None);
        assert_eq!(
            surplus(&[stays, fresh, machine(4, 20)], 0),
            Some((2, Resting::Stop))
        );
    }

    proptest! {
        #[test]
        fn repeated_passes_end_at_the_floor_and_never_below(loads in prop::collection::vec(0u32..30, 0..12), floor in 0u32..6) {
            let mut machines: Vec<Running> = loads.iter().map(|load| machine(*load, 20)).collect();
            let began_with = machines.len();
            for _ in 0..began_with + 1 {
                let Some((index, _)) = surplus(&machines, floor) else { break };
                prop_assert!(!machines[index].over_soft);
                machines.remove(index);
                prop_assert!(machines.len() >= floor as usize);
            }
            prop_assert_eq!(surplus(&machines, floor), None);
            let over = machines.iter().filter(|machine| machine.over_soft).count();
            let idle_left = machines.len() - over;
            prop_assert!(machines.len() <= (floor as usize).max(over + 1) && (idle_left <= 1 || machines.len() <= floor as usize));
        }
    }
}

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use mayfly_deploy::FULL;
use mayfly_edge_api::EdgeLoad;
use mayfly_types::{AppId, HostId, MachineId, Region, Timestamp};

/// What an edge said holds for so long: it says so every two seconds.
const FRESH: Duration = Duration::from_secs(10);

/// What the edges of each server said last.
#[derive(Default)]
pub(crate) struct Loads(Mutex<BTreeMap<HostId, Heard>>);

struct Heard {
    at: Timestamp,
    load: EdgeLoad,
}

/// All edges together at one moment.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) servers: usize,
    /// Servers that were heard not long ago and are not now.
    pub(super) silent: usize,
    /// In thousandths of the soft limit, at the port where that is most.
    pub(super) machines: BTreeMap<MachineId, u64>,
    pub(super) services: BTreeMap<(AppId, u16), Queue>,
    /// What came in at a region and went to others, on average, in thousandths of a request.
    pub(super) far_milli: BTreeMap<(AppId, u16, Region), u64>,
}

/// What found no machine at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    /// On average, in thousandths.
    pub(super) waiting_milli: u64,
    pub(super) refused: u32,
}

impl Loads {
    /// Takes over what the edges of a server say.
    pub(crate) fn hear(&self, server: HostId, load: EdgeLoad, now: Timestamp) {
        self.heard().insert(server, Heard { at: now, load });
    }

    /// The load at `now`. A server that was not heard for `forgotten_after` counts as gone.
    pub(super) fn picture(&self, now: Timestamp, forgotten_after: Duration) -> Picture {
        let mut heard = self.heard();
        heard.retain(|_, heard| now.since(heard.at) < forgotten_after.max(FRESH));
        let mut picture = Picture::default();
        let mut ports: BTreeMap<(MachineId, u16), (u64, u32)> = BTreeMap::new();
        for heard in heard.values() {
            if now.since(heard.at) >= FRESH {
                picture.silent += 1;
                continue;
            }
            picture.servers += 1;
            for service in &heard.load.services {
                let port = service.internal_port;
                let queue = picture.services.entry((service.app_id, port)).or_default();
                queue.waiting_milli += service.waiting_milli;
                queue.refused += service.refused;
                for far in &service.far {
                    let key = (service.app_id, port, far.region.clone());
                    *picture.far_milli.entry(key).or_default() += far.load_milli;
                }
                for machine in &service.machines {
                    let (load, soft) = ports.entry((machine.machine_id, port)).or_default();
                    *load += machine.load_milli;
                    *soft = machine.soft;
                }
            }
        }
        for ((machine, _), (load_milli, soft)) in ports {
            let share = load_milli * FULL / 1000 / u64::from(soft.max(1));
            let most = picture.machines.entry(machine).or_default();
            *most = share.max(*most);
        }
        picture
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<HostId, Heard>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use mayfly_edge_api::{FarLoad, MachineLoad, ServiceLoad};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn load(port: u16, waiting_milli: u64, load_milli: u64, soft: u32) -> EdgeLoad {
        EdgeLoad {
            services: vec![ServiceLoad {
                app_id: AppId::from_random([1; 16]),
                internal_port: port,
                waiting_milli,
                refused: 1,
                machines: vec![MachineLoad {
                    machine_id: MachineId::from_random([1; 14]),
                    load_milli,
                    soft,
                }],
                far: vec![FarLoad {
                    region: "lhr".parse().expect("a region"),
                    load_milli: waiting_milli,
                }],
            }],
        }
    }

    #[test]
    fn edges_add_up_and_grow_old() {
        let loads = Loads::default();
        let machine = MachineId::from_random([1; 14]);
        let (one, other) = (HostId::from_random([1; 8]), HostId::from_random([2; 8]));
        assert_eq!(loads.picture(at(0), LONG).servers, 0);
        loads.hear(one, load(80, 0, 99_000, 10), at(0));
        // The last word of each server counts.
        loads.hear(one, load(80, 500, 5_000, 10), at(2));
        loads.hear(other, load(80, 500, 2_500, 10), at(3));
        let picture = loads.picture(at(4), LONG);
        assert_eq!((picture.servers, picture.silent), (2, 0));
        assert_eq!(picture.machines[&machine], 750);
        let queues: Vec<Queue> = picture.services.values().copied().collect();
        assert_eq!(
            queues,
            [Queue {
                waiting_milli: 1000,
                refused: 2
            }]
        );
        let far: Vec<u64> = picture.far_milli.values().copied().collect();
        assert_eq!(far, [1000]);
        let picture = loads.picture(at(12), LONG);
        assert_eq!((picture.servers, picture.silent), (1, 1));
        assert_eq!(picture.machines[&machine], 250);
        let picture = loads.picture(at(602), LONG);
        assert_eq!((picture.servers, picture.silent), (0, 1));
        assert_eq!(loads.picture(at(603), LONG).silent, 0);
    }

    #[test]
    fn the_port_with_the_most_to_do_counts() {
        let loads = Loads::default();
        let mut both = load(80, 0, 3_000, 10);
        both.services.extend(load(90, 0, 3_000, 2).services);
        loads.hear(HostId::from_random([1; 8]), both, at(0));
        let picture = loads.picture(at(1), LONG);
        assert_eq!(picture.machines[&MachineId::from_random([1; 14])], 1500);
    }
}

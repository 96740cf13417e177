//! The fleet with scripted machines: catalogs are published by the test, wakes are recorded.

#![allow(clippy::disallowed_methods)] // tasks of tests are joined or end with the runtime

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use mayfly_edge_api::{AssignedAddress, DirectoryApp, Reach};
use mayfly_host_api::{CatalogEntry, CheckReport, CheckStatus};
use mayfly_machine::{
    Autostop, Handler, HttpOptions, MachineState, PortSpec, Protocol, ProxyProtoVersion,
    ServiceSpec, TlsOptions,
};
use mayfly_runtime::{SeededEntropy, Stop};
use mayfly_types::{AppId, ErrorKind, HostId, InstanceId, MachineId, NetworkId, OrgId, Timestamp};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Hosts of the test: what they are asked, and the catalog they publish.
struct Hosts {
    catalog: watch::Sender<Catalog>,
    asked: Mutex<Vec<(&'static str, MachineId)>>,
    /// Whether a start is refused, and whether a suspend is.
    refuses: Mutex<[bool; 2]>,
    /// Whether a request changes the state at once.
    obeys: bool,
}

impl Hosts {
    fn set(&self, change: impl FnOnce(&mut Vec<CatalogEntry>)) {
        let mut entries: Vec<CatalogEntry> = self
            .catalog
            .borrow()
            .iter()
            .map(|entry| (**entry).clone())
            .collect();
        let before = Arc::clone(&self.catalog.borrow());
        change(&mut entries);
        let entries = entries.into_iter().enumerate().map(|(index, entry)| {
            // Unchanged entries stay the same allocation, as with a real host.
            match before.get(index) {
                Some(old) if **old == entry => Arc::clone(old),
                _ => Arc::new(entry),
            }
        });
        self.catalog.send_replace(Arc::new(entries.collect()));
    }

    fn to(&self, machine: MachineId, state: MachineState) {
        self.set(|entries| {
            let found = entries.iter_mut().find(|entry| entry.machine_id == machine);
            found.unwrap().state = state;
        });
    }

    fn asked(&self) -> Vec<(&'static str, MachineId)> {
        self.asked.lock().unwrap().clone()
    }

    fn asked_to(&self, what: &str) -> usize {
        self.asked()
            .iter()
            .filter(|(said, _)| *said == what)
            .count()
    }

    fn ask(
        &self,
        what: &'static str,
        machine: MachineId,
        refused: bool,
        state: MachineState,
    ) -> Result<(), WakeError> {
        self.asked.lock().unwrap().push((what, machine));
        if refused {
            return Err(WakeError {
                kind: ErrorKind::Conflict,
                message: format!("no {what} today"),
            });
        }
        if self.obeys {
            self.to(machine, state);
        }
        Ok(())
    }
}

struct HostsWaker(Arc<Hosts>);

#[async_trait]
impl Waker for HostsWaker {
    async fn start(&self, _: HostId, machine: MachineId) -> Result<(), WakeError> {
        let refused = self.0.refuses.lock().unwrap()[0];
        self.0.ask("start", machine, refused, Started)
    }

    async fn stop(&self, _: HostId, machine: MachineId) -> Result<(), WakeError> {
        self.0.ask("stop", machine, false, Stopped)
    }

    async fn suspend(&self, _: HostId, machine: MachineId) -> Result<(), WakeError> {
        let refused = self.0.refuses.lock().unwrap()[1];
        self.0.ask("suspend", machine, refused, Suspended)
    }
}

struct Stage {
    fleet: Arc<Fleet>,
    hosts: Arc<Hosts>,
    directory: watch::Sender<Arc<Directory>>,
    stop: Stop,
    keeper: tokio::task::JoinHandle<()>,
}

impl Stage {
    fn set(obeys: bool, entries: Vec<CatalogEntry>) -> Stage {
        let catalog = watch::Sender::new(Arc::new(entries.into_iter().map(Arc::new).collect()));
        let hosts = Arc::new(Hosts {
            catalog,
            asked: Mutex::default(),
            refuses: Mutex::default(),
            obeys,
        });
        let directory = watch::Sender::new(Arc::new(Directory::default()));
        let (fleet, keeper) = FleetConfig {
            domain: "mayfly.test".to_owned(),
            region: "ams".parse().unwrap(),
            autostop_period: Duration::from_millis(400),
            latency: Latency::default(),
        }
        .build(
            FleetSources {
                catalogs: vec![hosts.catalog.subscribe()],
                others: watch::Sender::default().subscribe(),
                directory: directory.subscribe(),
            },
            Arc::new(HostsWaker(Arc::clone(&hosts))),
            &SeededEntropy::new(7),
        );
        let stop = Stop::new();
        let keeper = tokio::spawn(keeper.run(stop.clone()));
        Stage {
            fleet,
            hosts,
            directory,
            stop,
            keeper,
        }
    }

    fn service(&self) -> Arc<Service> {
        let table = self.fleet.table();
        let app = table.by_host("web.mayfly.test").unwrap();
        Arc::clone(app.port(80, Protocol::Tcp).unwrap().0)
    }

    async fn admit(&self, wish: Wish, patience: Duration) -> Result<Admission, Refusal> {
        let service = self.service();
        self.fleet
            .admit(&service, &wish, || Instant::now() + patience)
            .await
    }

    async fn any(&self) -> Result<Admission, Refusal> {
        self.admit(Wish::default(), PATIENCE).await
    }

    /// A request on a task of its own.
    fn request(&self) -> tokio::task::JoinHandle<Result<Admission, Refusal>> {
        let (fleet, service) = (Arc::clone(&self.fleet), self.service());
        tokio::spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            fleet.admit(&service, &Wish::default(), || deadline).await
        })
    }

    async fn until(&self, what: &str, fact: impl Fn(&Stage) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !fact(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{what}; asked: {:?}",
            self.hosts.asked()
        );
    }

    async fn end(self) {
        self.stop.cancel();
        self.keeper.await.unwrap();
    }
}

fn id(number: u8) -> MachineId {
    let mut bytes = [0; 14];
    bytes[13] = number;
    MachineId::from_random(bytes)
}

/// Machine `number` of app `web` in ams, soft limit 1, hard limit 2.
fn machine(number: u8, state: MachineState) -> CatalogEntry {
    let mut service = ServiceSpec::new(Protocol::Tcp, 8080);
    service.concurrency.soft = 1;
    service.concurrency.hard = Some(2);
    service.ports.push(PortSpec {
        first: 80,
        last: 80,
        handlers: vec![Handler::Http],
        force_https: false,
        tls: TlsOptions::default(),
        http: HttpOptions::default(),
        proxy_proto: ProxyProtoVersion::V1,
    });
    CatalogEntry {
        machine_id: id(number),
        instance_id: InstanceId::new(Timestamp::from_millis(i64::from(number)), [0; 10]),
        app_name: "web".parse().unwrap(),
        region: "ams".parse().unwrap(),
        ipv4: Ipv4Addr::new(127, 0, 1, number),
        private_ip: Ipv6Addr::LOCALHOST,
        state,
        cordoned: false,
        services: vec![service],
        app_id: AppId::from_random([1; 16]),
        org_id: OrgId::from_random([1; 16]),
        network: NetworkId(1),
        host_id: HostId::from_random([1; 8]),
        statics: Vec::new(),
        metadata: Default::default(),
        in_dns: true,
        primary_region: Some("ams".parse().unwrap()),
        checks: Vec::new(),
    }
}

use MachineState::{Started, Stopped, Suspended};

#[tokio::test]
async fn the_hard_limit_queues_in_order_and_the_deadline_refuses() {
    let stage = Stage::set(true, vec![machine(1, Started)]);
    let held = [stage.any().await.unwrap(), stage.any().await.unwrap()];
    let refused = stage
        .admit(Wish::default(), Duration::from_millis(30))
        .await
        .unwrap_err();
    assert!(matches!(refused, Refusal::Full { .. }), "{refused:?}");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..5u32 {
        let (fleet, service, order) = (
            Arc::clone(&stage.fleet),
            stage.service(),
            Arc::clone(&order),
        );
        waiting.push(tokio::spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            let admission = fleet.admit(&service, &Wish::default(), || deadline).await;
            order.lock().unwrap().push(number);
            drop(admission.unwrap());
        }));
        tokio::task::yield_now().await;
    }
    drop(held);
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_interleaving_exceeds_the_hard_limit_and_nobody_is_forgotten() {
    let stage = Stage::set(
        true,
        vec![
            machine(1, Started),
            machine(2, Started),
            machine(3, Suspended),
        ],
    );
    let (inside, most) = (
        Arc::new([const { AtomicU32::new(0) }; 4]),
        Arc::new(AtomicU32::new(0)),
    );
    let tasks: Vec<_> = (0..400)
        .map(|_| {
            let (fleet, service) = (Arc::clone(&stage.fleet), stage.service());
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            tokio::spawn(async move {
                for _ in 0..5 {
                    let deadline = Instant::now() + PATIENCE;
                    let admission = fleet
                        .admit(&service, &Wish::default(), || deadline)
                        .await
                        .unwrap();
                    let place = usize::from(admission.machine.as_str().as_bytes()[13] - b'0');
                    most.fetch_max(
                        inside[place].fetch_add(1, Ordering::SeqCst) + 1,
                        Ordering::SeqCst,
                    );
                    tokio::task::yield_now().await;
                    inside[place].fetch_sub(1, Ordering::SeqCst);
                    drop(admission);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert!(stage.hosts.asked_to("start") >= 1);
    assert!(
        stage
            .service()
            .members
            .iter()
            .all(|member| member.seat.load() == 0)
    );
    stage.end().await;
}

#[tokio::test]
async fn a_herd_starts_one_stopped_machine_once() {
    let mut roomy = machine(1, Stopped);
    roomy.services[0].concurrency.soft = 300;
    roomy.services[0].concurrency.hard = None;
    let mut other = roomy.clone();
    other.machine_id = id(2);
    let stage = Stage::set(false, vec![roomy, other]);
    let herd: Vec<_> = (0..200).map(|_| stage.request()).collect();
    stage
        .until("one is asked to start", |stage| {
            stage.hosts.asked_to("start") == 1
        })
        .await;
    let (_, woken) = stage.hosts.asked()[0];
    stage.hosts.to(woken, MachineState::Starting);
    tokio::time::sleep(Duration::from_millis(20)).await;
    stage.hosts.to(woken, Started);
    let mut held = Vec::new();
    for request in herd {
        held.push(request.await.unwrap().unwrap());
    }
    assert!(held.iter().all(|admission| admission.machine == woken));
    assert_eq!(stage.hosts.asked_to("start"), 1);
    drop(held);
    stage.end().await;
}

#[tokio::test]
async fn a_suspended_machine_takes_the_request_before_it_is_started() {
    let stage = Stage::set(false, vec![machine(1, Stopped), machine(2, Suspended)]);
    let first = stage.any().await.unwrap();
    assert_eq!(first.machine, id(2));
    stage
        .until("it is asked to thaw", |stage| {
            stage.hosts.asked_to("start") == 1
        })
        .await;
    // At its soft limit the other is woken, while this one takes it.
    let second = stage.any().await.unwrap();
    assert_eq!(second.machine, id(2));
    stage
        .until("the other is asked to start", |stage| {
            stage.hosts.asked_to("start") == 2
        })
        .await;
    assert_eq!(stage.hosts.asked()[1].1, id(1));
    drop((first, second));
    stage.end().await;
}

#[tokio::test]
async fn a_start_that_fails_is_told_and_not_repeated_at_once() {
    let stage = Stage::set(true, vec![machine(1, Stopped)]);
    stage.hosts.refuses.lock().unwrap()[0] = true;
    for _ in 0..3 {
        let refusal = stage.any().await.unwrap_err();
        assert_eq!(refusal.code(), "PM08");
        assert!(refusal.to_string().contains("no start today"), "{refusal}");
    }
    assert_eq!(stage.hosts.asked_to("start"), 1);
    // A machine that starts and ends at once fails too.
    stage.hosts.refuses.lock().unwrap()[0] = false;
    stage.hosts.to(id(1), Started);
    stage
        .until("it is seen started", |stage| {
            stage.fleet.table().by_machine(id(1)).unwrap().1.state() == Started
        })
        .await;
    assert!(stage.any().await.is_ok());
    stage.end().await;
}

#[tokio::test]
async fn wishes_are_followed() {
    let mut far = machine(2, Started);
    far.region = "syd".parse().unwrap();
    let mut asleep = machine(3, Stopped);
    asleep.region = "fra".parse().unwrap();
    let mut out = machine(4, Started);
    out.cordoned = true;
    let stage = Stage::set(true, vec![machine(1, Started), far, asleep, out]);
    let wish = Wish::default;
    let region = |code: &str| vec![code.parse().unwrap()];
    for (name, wish, expected) in [
        ("nothing: the local one", wish(), Ok(1)),
        (
            "near",
            Wish {
                near: Some("syd".parse().unwrap()),
                ..wish()
            },
            Ok(2),
        ),
        (
            "preferred region",
            Wish {
                prefer_regions: region("syd"),
                ..wish()
            },
            Ok(2),
        ),
        (
            "preferred region without machines",
            Wish {
                prefer_regions: region("nrt"),
                ..wish()
            },
            Ok(1),
        ),
        (
            "forced region",
            Wish {
                force_regions: region("syd"),
                ..wish()
            },
            Ok(2),
        ),
        (
            "forced region without machines",
            Wish {
                force_regions: region("nrt"),
                ..wish()
            },
            Err("PR01"),
        ),
        (
            "excluded",
            Wish {
                exclude: vec![id(1)],
                ..wish()
            },
            Ok(2),
        ),
        (
            "forced machine, asleep",
            Wish {
                force_instance: Some(id(3)),
                ..wish()
            },
            Ok(3),
        ),
        (
            "forced machine, cordoned",
            Wish {
                force_instance: Some(id(4)),
                ..wish()
            },
            Err("PM08"),
        ),
        (
            "forced machine, unknown",
            Wish {
                force_instance: Some(id(9)),
                ..wish()
            },
            Err("PR02"),
        ),
        (
            "all excluded",
            Wish {
                exclude: vec![id(1), id(2), id(3), id(4)],
                ..wish()
            },
            Err("PR04"),
        ),
    ] {
        let admitted = stage.admit(wish, PATIENCE).await;
        let got = admitted.as_ref().map(|admission| admission.machine);
        let expected = expected.map(id);
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{name}"),
            (Err(refusal), Err(code)) => assert_eq!(refusal.code(), code, "{name}"),
            (got, expected) => panic!("{name}: {got:?} for {expected:?}"),
        }
    }
    let preferred = Wish {
        prefer_instance: Some(id(4)),
        ..wish()
    };
    let admission = stage.admit(preferred, PATIENCE).await.unwrap();
    assert_eq!(
        (admission.machine, admission.preferred_unavailable),
        (id(1), Some(id(4)))
    );
    drop(admission);
    stage.end().await;
}

#[tokio::test]
async fn critical_checks_take_a_machine_out_and_passing_ones_bring_it_back() {
    let stage = Stage::set(true, vec![machine(1, Started)]);
    let report = |status, port| CheckReport {
        name: "servicecheck-00-http-8080".to_owned(),
        service_port: port,
        status,
        output: String::new(),
        updated_at: Timestamp::default(),
    };
    stage
        .hosts
        .set(|entries| entries[0].checks = vec![report(CheckStatus::Critical, None)]);
    assert!(stage.any().await.is_ok(), "top-level checks gate nothing");
    stage
        .hosts
        .set(|entries| entries[0].checks = vec![report(CheckStatus::Critical, Some(8080))]);
    let unhealthy = |stage: &Stage| {
        let refused = |member: &seat::Member| {
            matches!(
                mayfly_routing::Candidate::standing(member),
                mayfly_routing::Standing::Out(_)
            )
        };
        stage.service().members.iter().all(refused)
    };
    stage.until("it is out", unhealthy).await;
    let refusal = stage.any().await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unhealthy { .. }), "{refusal:?}");
    stage
        .hosts
        .set(|entries| entries[0].checks = vec![report(CheckStatus::Passing, Some(8080))]);
    stage.until("it is in", |stage| !unhealthy(stage)).await;
    assert!(stage.any().await.is_ok());
    stage.end().await;
}

fn restful(number: u8, autostop: Autostop) -> CatalogEntry {
    let mut entry = machine(number, Started);
    entry.services[0].autostop = autostop;
    entry
}

#[tokio::test]
async fn machines_rest_one_by_one_and_wake_again() {
    let mut elsewhere = restful(4, Autostop::Stop);
    elsewhere.region = "syd".parse().unwrap();
    let mut entries: Vec<_> = (1..4)
        .map(|number| restful(number, Autostop::Stop))
        .chain([elsewhere])
        .collect();
    for entry in &mut entries {
        entry.services[0].min_machines_running = 1;
    }
    let stage = Stage::set(true, entries);
    let running = |stage: &Stage| {
        stage
            .hosts
            .catalog
            .borrow()
            .iter()
            .filter(|entry| entry.state == Started)
            .count()
    };
    stage
        .until("one is left", |stage| running(stage) == 1)
        .await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(stage.hosts.asked_to("stop"), 3, "{:?}", stage.hosts.asked());
    let left = stage.any().await.unwrap();
    assert_eq!(left.region.as_str(), "ams");
    drop(left);
    stage.end().await;
}

#[tokio::test]
async fn suspend_falls_back_to_stop_and_load_keeps_a_machine_running() {
    let stage = Stage::set(true, vec![restful(1, Autostop::Suspend)]);
    let busy = stage.any().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(stage.hosts.asked(), []);
    stage.hosts.refuses.lock().unwrap()[1] = true;
    drop(busy);
    stage
        .until("it rests", |stage| stage.hosts.asked_to("stop") == 1)
        .await;
    assert_eq!(stage.hosts.asked_to("suspend"), 1);
    stage
        .until("it is seen stopped", |stage| {
            stage.fleet.table().by_machine(id(1)).unwrap().1.state() == Stopped
        })
        .await;
    assert!(stage.any().await.is_ok());
    assert_eq!(stage.hosts.asked_to("start"), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_request_takes_a_draining_machine_back() {
    let stage = Stage::set(true, vec![machine(1, Started)]);
    let (_, backend) = stage.fleet.table().by_machine(id(1)).unwrap();
    assert!(backend.drain());
    let admission = stage.any().await.unwrap();
    assert!(!backend.is_draining() && !backend.begin_rest());
    drop(admission);
    // Once the host was asked, a request waits until the machine has ended and can be woken.
    assert!(backend.drain() && backend.begin_rest());
    let request = stage.request();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!request.is_finished());
    stage.hosts.to(id(1), MachineState::Stopping);
    stage.hosts.to(id(1), Stopped);
    assert_eq!(request.await.unwrap().unwrap().machine, id(1));
    assert_eq!(stage.hosts.asked(), [("start", id(1))]);
    stage.end().await;
}

#[tokio::test]
async fn names_follow_the_directory_and_load_lives_on_across_tables() {
    let stage = Stage::set(true, vec![machine(1, Started)]);
    let held = stage.any().await.unwrap();
    let app = |hostnames: &[&str]| DirectoryApp {
        app_id: AppId::from_random([1; 16]),
        name: "web".parse().unwrap(),
        org_id: OrgId::from_random([1; 16]),
        network: NetworkId(1),
        hostnames: hostnames.iter().map(|name| (*name).to_owned()).collect(),
        addresses: vec![AssignedAddress {
            ip: "203.0.113.9".parse().unwrap(),
            reach: Reach::Dedicated,
            region: None,
        }],
        replay_sources: Vec::new(),
        egress: Vec::new(),
        policies: Vec::new(),
        autoscaled: false,
    };
    let publish = |hostnames: &[&str]| {
        stage.directory.send_replace(Arc::new(Directory {
            apps: vec![Arc::new(app(hostnames))],
            ..Directory::default()
        }));
    };
    publish(&["example.com", "*.example.com"]);
    stage
        .until("the name is known", |stage| {
            stage.fleet.table().by_host("example.com").is_some()
        })
        .await;
    let table = stage.fleet.table();
    for known in [
        "example.com",
        "a.example.com",
        "example.com.",
        "web.mayfly.test",
    ] {
        assert!(table.by_host(known).is_some(), "{known}");
    }
    for unknown in [
        "a.b.example.com",
        "mayfly.test",
        "x.web.mayfly.test",
        "",
        "other.com",
    ] {
        assert!(table.by_host(unknown).is_none(), "{unknown}");
    }
    assert!(table.by_address("203.0.113.9".parse().unwrap()).is_some());
    publish(&["other.com"]);
    stage
        .until("the name has changed", |stage| {
            let table = stage.fleet.table();
            table.by_host("other.com").is_some() && table.by_host("a.example.com").is_none()
        })
        .await;
    // A new version with another port of its own joins the same public port.
    stage.hosts.set(|entries| {
        let mut newer = machine(2, Started);
        newer.services[0].internal_port = 3000;
        entries.push(newer);
    });
    stage
        .until("both serve", |stage| stage.service().members.len() == 2)
        .await;
    let service = stage.service();
    assert_eq!(service.spec().internal_port, 3000);
    let loads: Vec<u32> = service
        .members
        .iter()
        .map(|member| member.seat.load())
        .collect();
    assert_eq!(loads.iter().sum::<u32>(), 1);
    drop(held);
    assert!(service.members.iter().all(|member| member.seat.load() == 0));
    stage.end().await;
}

#[tokio::test]
async fn a_worker_beside_the_web_takes_neither_requests_nor_the_service() {
    let mut worker = machine(2, Started);
    worker.services.clear();
    let stage = Stage::set(true, vec![machine(1, Started), worker]);
    let service = stage.service();
    let members: Vec<MachineId> = service
        .members
        .iter()
        .map(|member| member.seat.backend.machine)
        .collect();
    assert_eq!(members, [id(1)]);
    stage.end().await;
}

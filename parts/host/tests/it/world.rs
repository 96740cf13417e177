use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mayfly_driver::Driver;
use mayfly_driver::fake::FakeDriver;
use mayfly_host::{Host, HostConfig, HostDeps, Housemates, Overcommit, Server};
use mayfly_host_api::{
    Actor, Catalog, CreateMachine, EventKind, HostApi, HostError, HostEvent, Launch, MachineReport,
    StopMachine, UpdateMachine,
};
use mayfly_image::{ImageStore, StoreConfig};
use mayfly_machine::{MachineSpec, MachineState};
use mayfly_mesh::Ipv4Pool;
use mayfly_runtime::{Clock, LoopBoard, Stop, SystemClock, SystemEntropy};
use mayfly_testing::{TestImage, wait_for};
use mayfly_types::{AppId, HostSeq, ImageRef, InstanceId, MachineId, NetworkId, OrgId, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The system's time, moved on as far as a test likes.
#[derive(Clone, Default)]
pub(crate) struct ShiftedClock(Arc<AtomicI64>);

impl ShiftedClock {
    pub(crate) fn advance(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let shift = self.0.load(Ordering::SeqCst);
        Timestamp::from_millis(SystemClock.now().as_millis() + shift)
    }
}

/// One image store for all tests of the process: they only read it.
struct Images {
    _dir: tempfile::TempDir,
    store: ImageStore,
    image: ImageRef,
    _runtime: Runtime,
}

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let layout = dir.path().join("layout");
        TestImage::empty()
            .cmd(&["/bin/app", "serve"])
            .file("/bin/app", 0o755, "app")
            .write_oci_layout(&layout, "app:1")
            .unwrap();
        let runtime = Runtime::new().unwrap();
        let (store, image) = runtime.block_on(async {
            let path = dir.path().join("images");
            let store = ImageStore::open(&path, StoreConfig::default())
                .await
                .unwrap();
            let name = "registry.test/app:1".parse().unwrap();
            let pins = store.import(&layout, Some(&name)).await.unwrap();
            let image = pins[0].info.image.clone();
            (store, image)
        });
        Images {
            _dir: dir,
            store,
            image,
            _runtime: runtime,
        }
    })
}

/// A host that can be crashed and started again over the same journal and the same fake kernel.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) driver: FakeDriver,
    pub(crate) clock: ShiftedClock,
    pub(crate) overcommit: Overcommit,
    boots: u32,
    versions: AtomicU8,
    /// What the host published before it began to work.
    pub(crate) catalog_at_start: Catalog,
    up: Option<Up>,
}

/// One incarnation of the daemon.
struct Up {
    runtime: Runtime,
    host: Host,
    stop: Stop,
}

pub(crate) const STOP: StopMachine = StopMachine {
    signal: None,
    patience: None,
    by: Actor::User,
};

pub(crate) fn id(number: u8) -> MachineId {
    MachineId::from_random([number; 14])
}

pub(crate) fn spec() -> MachineSpec {
    MachineSpec::of_image(images().image.clone())
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Overcommit::Allow)
    }

    pub(crate) fn with(overcommit: Overcommit) -> World {
        let clock = ShiftedClock::default();
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            driver: FakeDriver::new(Arc::new(clock.clone())),
            clock,
            overcommit,
            boots: 1,
            versions: AtomicU8::new(1),
            catalog_at_start: Catalog::default(),
            up: None,
        };
        world.start_again();
        world
    }

    pub(crate) fn start_again(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut config = HostConfig::new(self.dir.path(), "iad".parse().unwrap());
        config.overcommit = self.overcommit;
        let deps = HostDeps {
            driver: Arc::new(self.driver.clone()),
            images: images().store.clone(),
            ipv4_pool: Ipv4Pool::numbered(3),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SystemEntropy),
            board: LoopBoard::default(),
            server: Server {
                nameservers: Vec::new(),
                boot_id: format!("boot-{}", self.boots),
                memory_mib: 1024,
                cpus: 2,
                cgroups: "v2".into(),
            },
            directory: watch::Sender::new(Arc::default()).subscribe(),
            housemates: Housemates::default(),
        };
        let host = runtime.block_on(config.build(deps)).unwrap();
        self.catalog_at_start = host.catalog().borrow().clone();
        let stop = Stop::new();
        let (running, until) = (host.clone(), stop.clone());
        runtime.spawn(async move { running.run(until).await });
        self.up = Some(Up {
            runtime,
            host,
            stop,
        });
    }

    /// The daemon is killed where it stands; nothing it was doing goes on.
    pub(crate) fn crash(&mut self) {
        let Up { runtime, host, .. } = self.up.take().unwrap();
        drop(host);
        runtime.shutdown_timeout(Duration::from_secs(5));
    }

    pub(crate) fn restart(&mut self) {
        self.crash();
        self.start_again();
    }

    /// The daemon is asked to end.
    pub(crate) fn stop_and_start(&mut self) {
        let Up {
            runtime,
            host,
            stop,
        } = self.up.take().unwrap();
        stop.cancel();
        runtime.block_on(host.run(stop));
        drop(host);
        runtime.shutdown_timeout(Duration::from_secs(5));
        self.start_again();
    }

    pub(crate) fn reboot(&mut self) {
        self.crash();
        self.driver.reboot();
        self.boots += 1;
        self.start_again();
    }

    pub(crate) fn call<T>(&self, call: impl AsyncFnOnce(&Host) -> T) -> T {
        let up = self.up.as_ref().unwrap();
        up.runtime.block_on(call(&up.host))
    }

    /// Begins a call that nobody waits for.
    pub(crate) fn begin<F>(&self, call: impl FnOnce(Host) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let up = self.up.as_ref().unwrap();
        up.runtime.spawn(call(up.host.clone()));
    }

    pub(crate) fn create(&self, number: u8, spec: MachineSpec, launch: Launch) -> MachineReport {
        self.try_create(number, spec, launch).unwrap()
    }

    pub(crate) fn try_create(
        &self,
        number: u8,
        spec: MachineSpec,
        launch: Launch,
    ) -> Result<MachineReport, HostError> {
        let request = CreateMachine {
            machine_id: id(number),
            instance_id: InstanceId::new(Timestamp::from_millis(0), [0; 10]),
            name: format!("machine-{number}"),
            app_id: AppId::from_random([1; 16]),
            app_name: "app".parse().unwrap(),
            org_id: OrgId::from_random([2; 16]),
            org_slug: "personal".parse().unwrap(),
            network: NetworkId(7),
            region: "iad".parse().unwrap(),
            spec,
            secrets: BTreeMap::new(),
            launch,
            cordoned: false,
            by: Actor::User,
        };
        self.call(async |host| host.create(request).await)
    }

    pub(crate) fn started(&self, number: u8, spec: MachineSpec) {
        self.create(number, spec, Launch::Now);
        self.wait(number, MachineState::Started);
    }

    pub(crate) fn stop(&self, number: u8) -> MachineReport {
        self.call(async |host| host.stop(id(number), STOP).await)
            .unwrap()
    }

    pub(crate) fn start(&self, number: u8) -> MachineReport {
        self.call(async |host| host.start(id(number), Actor::User).await)
            .unwrap()
    }

    pub(crate) fn update(&self, number: u8, spec: MachineSpec) -> Result<MachineReport, HostError> {
        let version = self.versions.fetch_add(1, Ordering::SeqCst);
        let request = UpdateMachine {
            instance_id: InstanceId::new(Timestamp::from_millis(0), [version; 10]),
            spec,
            secrets: BTreeMap::new(),
            launch: Launch::Now,
            by: Actor::User,
        };
        self.call(async |host| host.update(id(number), request).await)
    }

    /// Makes the machine's actor look at the clock.
    pub(crate) fn poke(&self, number: u8) {
        self.call(async |host| host.cordon(id(number), false, Actor::User).await)
            .unwrap();
    }

    pub(crate) fn report(&self, number: u8) -> MachineReport {
        self.call(async |host| host.report(id(number)).await)
            .unwrap()
    }

    pub(crate) fn state(&self, number: u8) -> MachineState {
        self.report(number).state
    }

    pub(crate) fn wait(&self, number: u8, state: MachineState) -> MachineReport {
        let what = format!("machine {number} is {state}");
        wait_for(&what, || {
            let report = self.report(number);
            (report.state == state).then_some(report)
        })
    }

    pub(crate) fn events(&self) -> Vec<HostEvent> {
        self.call(async |host| host.events_after(HostSeq(0), 10_000).await)
            .unwrap()
    }

    /// What users see of a machine, in order.
    pub(crate) fn history(&self, number: u8) -> Vec<String> {
        let events = self.events();
        let of_machine = events.iter().filter(|event| event.machine_id == id(number));
        of_machine
            .filter_map(|event| event.event.as_ref())
            .map(|kind| match kind {
                EventKind::Exit(exit) => format!(
                    "exit{}{}",
                    if exit.requested_stop {
                        " requested"
                    } else {
                        ""
                    },
                    if exit.restarting { " restarting" } else { "" }
                ),
                EventKind::LaunchFailed { reason } => format!("failed: {reason}"),
                other => format!("{other:?}").to_lowercase(),
            })
            .collect()
    }

    pub(crate) async fn held(&self) -> Vec<MachineId> {
        self.driver.machines().await.unwrap()
    }

    pub(crate) async fn provision(&self, body: &mayfly_driver::Body) {
        self.driver.provision(body).await.unwrap();
    }

    pub(crate) fn journal(&self) -> std::path::PathBuf {
        self.dir.path().join("host/journal.db")
    }

    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.up.is_some() {
            self.crash();
        }
    }
}

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use mayfly_control_store::{
    App, By, ControlStore, Created, Event, EventFilter, FirstStart, HostSize, Machine, NewApp,
    NewLease, NewMachine, NewOrg, NewToken, NewVersion, OrgKind, TokenKind,
};
use mayfly_host_api::{Actor, EventKind, HostEvent, MachineReport};
use mayfly_machine::{GuestSize, MachineSpec, MachineState};
use mayfly_types::{
    AppId, Digest, EventSeq, HostId, HostSeq, InstanceId, MachineId, OrgId, Timestamp, TokenId,
    UserId,
};
use serde_json::value::RawValue;

/// Runs every named `async fn name(cloud: Cloud)` of the module on both engines.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite { $(
            #[tokio::test]
            async fn $name() {
                super::$name(crate::fixture::Cloud::on_sqlite().await).await;
            }
        )* }
        mod postgres { $(
            #[tokio::test]
            async fn $name() {
                super::$name(crate::fixture::Cloud::on_postgres().await).await;
            }
        )* }
    };
}
pub(crate) use on_both_engines;

/// A store with one user, one organization and one host.
pub(crate) struct Cloud {
    pub(crate) store: ControlStore,
    pub(crate) url: String,
    pub(crate) user: UserId,
    pub(crate) org: OrgId,
    pub(crate) host: HostId,
    _directory: Option<tempfile::TempDir>,
}

pub(crate) const CONFIG: &str =
    r#"{"image":"nginx","env":{"KEY":"hunter2"},"z":1.50,"a":123456789012345678901234567890}"#;

impl Cloud {
    pub(crate) async fn on_sqlite() -> Cloud {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/control.db", directory.path().display());
        Cloud::begin(url, Some(directory)).await
    }

    pub(crate) async fn on_postgres() -> Cloud {
        Cloud::begin(mayfly_testing::postgres_url(), None).await
    }

    async fn begin(url: String, directory: Option<tempfile::TempDir>) -> Cloud {
        let store = ControlStore::open(&url).await.unwrap();
        let cloud = Cloud {
            store,
            url,
            user: UserId::from_random([1; 16]),
            org: OrgId::from_random([2; 16]),
            host: HostId::from_random([3; 8]),
            _directory: directory,
        };
        assert!(
            cloud
                .store
                .first_start(cloud.first_start(), by(1))
                .await
                .unwrap()
        );
        cloud
            .store
            .register_host(
                cloud.host,
                "iad".parse().unwrap(),
                HostSize::default(),
                by(2),
            )
            .await
            .unwrap();
        cloud
    }

    pub(crate) fn first_start(&self) -> FirstStart {
        FirstStart {
            user_id: self.user,
            email: "ann@example.org".to_owned(),
            name: "Ann".to_owned(),
            org: NewOrg {
                id: self.org,
                slug: "personal".parse().unwrap(),
                name: "Ann".to_owned(),
                kind: OrgKind::Personal,
            },
            token: self.token(1),
        }
    }

    pub(crate) fn token(&self, number: u8) -> NewToken {
        NewToken {
            id: TokenId::from_random([number; 16]),
            digest: Digest::from_sha256([number; 32]),
            name: format!("token {number}"),
            kind: TokenKind::Opaque,
            user_id: self.user,
            org_id: None,
            expires_at: None,
        }
    }

    pub(crate) async fn app(&self, name: &str) -> App {
        self.store
            .create_app(self.new_app(name), by(10))
            .await
            .unwrap()
    }

    pub(crate) fn new_app(&self, name: &str) -> NewApp {
        NewApp {
            id: AppId::from_random(unique()),
            name: name.parse().unwrap(),
            org_id: self.org,
            network: None,
            role: String::new(),
            expires_at: None,
        }
    }

    pub(crate) fn new_machine(&self, app: &App, name: &str) -> NewMachine {
        NewMachine {
            id: MachineId::from_random(unique()),
            app_id: app.id,
            name: name.parse().unwrap(),
            region: "iad".parse().unwrap(),
            host_id: self.host,
            placement_reason: "the only host".to_owned(),
            version: version(20, &[]),
            cordoned: false,
            lease: None,
            idempotency: None,
        }
    }

    pub(crate) async fn machine(&self, app: &App, name: &str) -> Machine {
        let new = self.new_machine(app, name);
        created(self.store.create_machine(new, by(20)).await.unwrap())
    }

    /// A report of the host that the machine is in `state`.
    pub(crate) fn report(
        &self,
        seq: i64,
        machine: &Machine,
        state: MachineState,
        event: Option<EventKind>,
    ) -> HostEvent {
        HostEvent {
            seq: HostSeq(seq),
            at: at(1000 + seq),
            machine_id: machine.id,
            event,
            by: Actor::User,
            report: MachineReport {
                machine_id: machine.id,
                host_id: self.host,
                seq: HostSeq(seq),
                instance_id: machine.instance_id,
                state,
                since: at(1000 + seq),
                private_ip: "fdaa:0:1:a7b:1:2:3:2".to_owned(),
                pid: None,
                cordoned: false,
                failure: None,
                containers: Vec::new(),
            },
        }
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.store
            .events_after(EventSeq(0), EventFilter::default(), 10_000)
            .await
            .unwrap()
    }

    pub(crate) async fn kinds(&self) -> Vec<String> {
        self.events()
            .await
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }
}

pub(crate) fn created(answer: Created) -> Machine {
    match answer {
        Created::New(machine) => machine,
        Created::Again(machine) => panic!("machine {} was made before", machine.id),
    }
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn by(millis: i64) -> By {
    By::platform(at(millis))
}

pub(crate) fn lease(nonce: &str, until: i64) -> NewLease {
    NewLease {
        nonce: nonce.to_owned(),
        owner: "ann@example.org".to_owned(),
        description: None,
        expires_at: at(until),
    }
}

/// A version made at `millis`, with metadata.
pub(crate) fn version(millis: i64, metadata: &[(&str, &str)]) -> NewVersion {
    let image = format!("docker.io/library/nginx:1@sha256:{}", "ab".repeat(32));
    let metadata: BTreeMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    NewVersion {
        instance_id: InstanceId::new(at(millis), unique()),
        image: image.parse().unwrap(),
        image_labels: BTreeMap::from([("maintainer".to_owned(), "nobody".to_owned())]),
        config: RawValue::from_string(CONFIG.to_owned()).unwrap(),
        spec: MachineSpec {
            size: GuestSize::preset("shared-cpu-1x").unwrap(),
            init: Default::default(),
            restart: Default::default(),
            stop: Default::default(),
            rootfs: Default::default(),
            mounts: Vec::new(),
            dns: Default::default(),
            metadata,
            ..MachineSpec::of_image(image.parse().unwrap())
        },
        secrets_version: 0,
    }
}

/// Bytes that no other call of this process returns; as random bytes they make an id of their own.
pub(crate) fn unique<const N: usize>() -> [u8; N] {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut bytes = [0; N];
    for (index, slot) in bytes.iter_mut().enumerate() {
        *slot = ((number >> (4 * index.min(15))) & 15) as u8;
    }
    bytes
}
